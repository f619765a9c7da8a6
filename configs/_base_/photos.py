# Photographs, 4x: random crops of 64 px out of those that `prepare_data crops` makes, 128 px with their 4x
# counterparts. A config of blind restoration degrades the larger crops instead of taking their counterparts.
set_scale = dict(type='SetValues', dictionary=dict(scale=4))
turn = [
    dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='horizontal'),
    dict(type='RandomTransposeHW', keys=['img', 'gt'], transpose_ratio=0.5),
]
crop = [set_scale, dict(type='PairedRandomCrop', gt_patch_size=64), *turn]
crop_pipeline = [
    dict(type='LoadPicture', key='img'),
    dict(type='LoadPicture', key='gt'),
    *crop,
    dict(type='PackInputs'),
]

# Validation and test of a model that is bound to 16 -> 64.
middle = [
    dict(type='Crop', keys=['img'], crop_size=(16, 16), random_crop=False),
    dict(type='Crop', keys=['gt'], crop_size=(64, 64), random_crop=False),
]
middle_pipeline = [
    dict(type='LoadPicture', key='img'),
    dict(type='LoadPicture', key='gt'),
    *middle,
    dict(type='PackInputs'),
]
