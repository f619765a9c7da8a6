# Steps of blind restoration's pipelines. A config adds the sizes, and the four steps of Eq. 11 with their limits.
load_gt = dict(type='LoadPicture', key='gt')
load_img = dict(type='LoadPicture', key='img')
flip = dict(type='Flip', keys=['gt'], flip_ratio=0.5, direction='horizontal')
copy_gt = dict(
    type='CopyValues',
    src_keys=['gt', 'gt_path', 'gt_channel_order', 'gt_color_type'],
    dst_keys=['img', 'img_path', 'img_channel_order', 'img_color_type'])
pack = dict(type='PackInputs', meta_keys=['degradation', 'key'])
