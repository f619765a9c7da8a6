# Text, 4x, trained on crops 16 -> 64 of those that `prepare_text` renders. As LightGLEAN it takes inputs of any size:
# whole test images, and pages.
_base_ = './lightglean_photo_4x.py'

train_dataloader = dict(dataset=dict(
    metainfo=dict(dataset_type='text', task_name='sisr'),
    data_root='data/text/train',
    # Letters have a direction: no flips and no transposition.
    pipeline=[
        dict(type='LoadPicture', key='img'),
        dict(type='LoadPicture', key='gt'),
        dict(type='SetValues', dictionary=dict(scale=4)),
        dict(type='PairedRandomCrop', gt_patch_size=64),
        dict(type='PackInputs'),
    ]))
val_dataloader = dict(dataset=dict(
    metainfo=dict(dataset_type='text', task_name='sisr'),
    data_root='data/text/test'))
test_dataloader = val_dataloader
