# GLEAN as in glean.py with ST-LPIPS, whose networks are in a package: AlexNet as the perceptual loss, VGG as a metric.
_base_ = './glean.py'

model = dict(perceptual_loss=dict(_delete_=True, type='STLPIPSLoss', net='alex', loss_weight=0.02))

metrics = [
    dict(type='PSNRMetric'),
    dict(type='SSIMMetric'),
    dict(type='STLPIPSMetric', net='vgg'),
    dict(type='PSNRMetric', pred_key='bicubic_img', prefix='bicubic'),
    dict(type='SSIMMetric', pred_key='bicubic_img', prefix='bicubic'),
    dict(type='STLPIPSMetric', net='vgg', pred_key='bicubic_img', prefix='bicubic'),
]
val_evaluator = dict(metrics=metrics)
test_evaluator = dict(metrics=metrics)
