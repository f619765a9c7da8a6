# Text, 4x, trained on crops 16 -> 64 of those that `prepare_text` renders. As LightGLEAN it takes inputs of any size:
# whole test images.
_base_ = './lightglean_photo_4x.py'

data = dict(data_root='data/text/train', metainfo=dict(dataset_type='text', task_name='sisr'))
# Letters have a direction: no flips and no transposition.
pipeline = [
    dict(type='LoadPicture', key='img'),
    dict(type='LoadPicture', key='gt'),
    dict(type='SetValues', dictionary=dict(scale=4)),
    dict(type='PairedRandomCrop', gt_patch_size=64),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=pipeline, **data))
val_dataloader = dict(dataset=dict(data_root='data/text/test', metainfo=data['metainfo']))
test_dataloader = val_dataloader
