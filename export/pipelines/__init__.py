"""Working folders for other people's pipelines, written from the card: Triton's repository, DeepStream's nvinfer.

:func:`edgedet.export.pipelines.export.export_pipeline` is the way in. ``deepstream`` and ``triton`` hold what each
wants; ``nvinfer_input`` and ``nvinfer_frames`` know what nvinfer can feed and what it does to a frame; ``folder``
writes all of it or nothing.
"""
