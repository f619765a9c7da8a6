custom_imports = dict(imports=['glean_plus'], allow_failed_imports=False)
default_scope = 'mmagic'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='WholeCheckpointHook', interval=5000, by_epoch=False, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # Images that are broken: others stand in for them, and the one after `limit` ends the training.
    data=dict(type='DataHook', limit=10),
    # NaN or Inf in losses or gradients: such a step is not taken, and the one after `limit` ends the training.
    numbers=dict(type='NumbersHook', limit=10))

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Processes that wait for one that does not answer give up after so many seconds.
    dist_cfg=dict(backend='nccl', timeout=1800))

# `--cfg-options "vis_backends=[LocalVisBackend,TensorboardVisBackend]"` adds TensorBoard; Weights & Biases is
# WandbVisBackend.
visualizer = dict(type='mmengine.Visualizer', vis_backends=[dict(type='LocalVisBackend')])

log_level = 'INFO'
log_processor = dict(type='LogProcessor', window_size=100, by_epoch=False)
load_from = None
resume = False
randomness = dict(seed=0, diff_rank_seed=True)

model_wrapper_cfg = dict(type='SeparateDistributedDataParallel')
