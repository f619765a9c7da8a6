# Colorization (section 5.4, appendix A): L of Lab in, RGB out, losses on RGB. The data need colour images only, whose
# L is the input; gray photographs can stand in their place in a test.
_base_ = './glean.py'

model = dict(
    generator=dict(
        bank=dict(_delete_=True, type='BigGANBank', embedding=False, rgb=False),
        encoder=dict(in_channels=1),
        decoder=dict(_delete_=True, type='ColorizationHead')),
    # To beat: the input as it is.
    test_cfg=dict(_delete_=True, constant_ab=dict(gray=(0, 0))),
    data_preprocessor=dict(_delete_=True, type='ColorizationDataPreprocessor'))

metrics = [
    dict(type='PSNRMetric'),
    dict(type='SSIMMetric'),
    dict(type='PSNRMetric', pred_key='gray_img', prefix='gray'),
    dict(type='SSIMMetric', pred_key='gray_img', prefix='gray'),
]
val_evaluator = dict(metrics=metrics)
test_evaluator = dict(metrics=metrics)

# The steps of the pipelines; a config adds the size.
load = dict(type='LoadPicture', key='gt')
flip = dict(type='Flip', keys=['gt'], flip_ratio=0.5, direction='horizontal')
lightness = dict(type='LabLightness', key='gt')
pack = dict(type='PackInputs', meta_keys=['key'])

# Of MMagicInferencer, which is given a file as `img`.
inference_pipeline = [
    dict(type='LoadPicture', key='img'),
    dict(type='LabLightness', key='img'),
    dict(type='PackInputs'),
]
