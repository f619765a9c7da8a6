# Photographs, 4x, on crops of 64 px out of `prepare_data crops` (128 px and their low-resolution counterparts).
crop_pipeline = [
    dict(type='LoadPicture', key='img'),
    dict(type='LoadPicture', key='gt'),
    dict(type='SetValues', dictionary=dict(scale=4)),
    dict(type='PairedRandomCrop', gt_patch_size=64),
    dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='horizontal'),
    dict(type='RandomTransposeHW', keys=['img', 'gt'], transpose_ratio=0.5),
    dict(type='PackInputs'),
]
