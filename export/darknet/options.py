"""Which options of Darknet's sections change what comes out, and which only training reads.

From the parsers of both programs, pjreddie's and AlexeyAB's. What is in none of these lists is refused.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


EVERYWHERE = _names(
    "clip onlyforward dont_update burnin_update stopbackward train_only_bn learning_rate truth smooth "
    "stream wait_stream"
)
"""Options of any layer for training, or about when something is computed."""

NEVER = {"dontload": 0.0, "dontloadscales": 0.0, "numload": 0.0, "dontsave": 0.0}
"""Options of any layer, with the only value taken: with another the weights' file is another one."""

NETWORK_TRAINING = _names(
    "batch subdivisions momentum learning_rate decay saturation exposure hue angle aspect policy steps scales step "
    "scale gamma max_batches burn_in power max_crop min_crop max_ratio min_ratio center clip random adam B1 B2 eps "
    "notruth max_epochs seen inputs "
    "learning_rate_min sgdr_cycle sgdr_mult track augment_speed sequential_subdivisions try_fix_nan "
    "weights_reject_freq equidistant_point badlabels_rejection_percentage num_sigmas_reject_badlabels ema_alpha "
    "use_cuda_graph loss_scale dynamic_minibatch optimized_memory workspace_size_limit_MB flip blur gaussian_noise "
    "mixup cutmix mosaic mosaic_bound contrastive contrastive_jit_flip contrastive_color unsupervised "
    "label_smooth_eps resize_step attention adversarial_lr max_chart_loss seq_scales show_receptive_field"
)

TRAINING = {
    "convolutional": "angle grad_centr dot assisted_excitation",
    "local": "",
    "connected": "",
    "maxpool": "out_channels",
    "avgpool": "",
    "dropout": "probability dropblock dropblock_size_rel dropblock_size_abs",
    "crop": "flip angle saturation exposure shift",
    "route": "",
    "shortcut": "",
    "upsample": "",
    "reorg": "",
    "reorg3d": "",
    "activation": "",
    "scale_channels": "",
    "sam": "",
    "yolo": "jitter ignore_thresh truth_thresh random max map show_details max_delta counters_per_class "
    "label_smooth_eps objectness_smooth iou_normalizer obj_normalizer cls_normalizer delta_normalizer iou_loss "
    "iou_thresh_kind resize focal_loss iou_thresh track_history_size sim_thresh dets_for_track dets_for_show "
    "track_ciou_norm embedding_layer beta_nms beta1 uc_normalizer",
    "region": "log sqrt max jitter rescore thresh absolute random coord_scale object_scale noobject_scale "
    "mask_scale class_scale bias_match map focal_loss resize",
    "detection": "rescore max coord_scale forced object_scale noobject_scale class_scale jitter random",
}
"""By section: options of training alone."""

USED = {
    "convolutional": "filters size stride stride_x stride_y pad padding groups dilation activation batch_normalize",
    "local": "filters size stride pad activation",
    "connected": "output activation batch_normalize",
    "maxpool": "size stride stride_x stride_y padding",
    "avgpool": "",
    "dropout": "",
    "crop": "crop_height crop_width noadjust",
    "route": "layers groups group_id",
    "shortcut": "from activation weights_type weights_normalization",
    "upsample": "stride scale",
    "reorg": "stride",
    "reorg3d": "stride",
    "activation": "activation",
    "scale_channels": "from activation",
    "sam": "from activation",
    "yolo": "classes num mask anchors scale_x_y new_coords nms_kind",
    "region": "classes num anchors softmax",
    "detection": "classes num side softmax sqrt",
}
"""By section: options that are read. The sections that edgedet knows."""

ONLY: dict[str, dict[str, float]] = {
    "convolutional": dict.fromkeys(
        _names(
            "binary xnor bin_output flipped cbn sway rotate stretch stretch_sway antialiasing coordconv reverse"
        ),
        0.0,
    ),
    "maxpool": {"maxpool_depth": 0.0, "antialiasing": 0.0, "maxpool_zero_nonmax": 0.0},
    "shortcut": {"alpha": 1.0, "beta": 1.0},
    "reorg": {"reverse": 0.0, "flatten": 0.0, "extra": 0.0},
    "reorg3d": {"reverse": 0.0},
    "scale_channels": {"scale_wh": 0.0},
    "region": {"coords": 4.0, "background": 0.0, "classfix": 0.0},
    "detection": {"coords": 4.0, "reorg": 0.0},
}
"""By section: options that may have one value alone."""

SYNONYMS = {"conv": "convolutional", "conn": "connected", "max": "maxpool", "avg": "avgpool"}
"""Short names of sections."""

ALEXEYAB_SECTIONS = frozenset(("reorg3d", "scale_channels", "sam"))
ALEXEYAB_ACTIVATIONS = frozenset(("swish", "mish", "hard_mish", "relu6", "gelu"))
ALEXEYAB_OPTIONS = {
    "net": _names(
        "letter_box mosaic mosaic_bound cutmix mixup flip blur gaussian_noise learning_rate_min sgdr_cycle "
        "sgdr_mult track augment_speed sequential_subdivisions try_fix_nan ema_alpha dynamic_minibatch "
        "optimized_memory workspace_size_limit_MB label_smooth_eps resize_step attention adversarial_lr "
        "max_chart_loss use_cuda_graph loss_scale contrastive contrastive_jit_flip contrastive_color unsupervised "
        "weights_reject_freq equidistant_point badlabels_rejection_percentage num_sigmas_reject_badlabels"
    ),
    "convolutional": _names("stride_x stride_y dilation antialiasing assisted_excitation grad_centr"),
    "maxpool": _names("stride_x stride_y maxpool_depth antialiasing out_channels"),
    "route": _names("groups group_id"),
    "shortcut": _names("weights_type weights_normalization"),
    "dropout": _names("dropblock dropblock_size_rel dropblock_size_abs"),
    "yolo": _names(
        "scale_x_y new_coords nms_kind beta_nms iou_loss iou_thresh iou_thresh_kind iou_normalizer obj_normalizer "
        "cls_normalizer delta_normalizer max_delta resize objectness_smooth label_smooth_eps counters_per_class "
        "show_details focal_loss track_history_size sim_thresh dets_for_track dets_for_show track_ciou_norm "
        "embedding_layer uc_normalizer beta1"
    ),
    "region": _names("focal_loss resize"),
}
"""What only AlexeyAB's Darknet reads: a .cfg that has it was written for that one."""


def alexeyab_sign(kind: str, options: dict[str, str]) -> str | None:
    """What of a section says that it is AlexeyAB's, or None.

    >>> alexeyab_sign("yolo", {"classes": "80", "scale_x_y": "1.05"})
    'scale_x_y in [yolo]'
    """
    if kind in ALEXEYAB_SECTIONS:
        return f"[{kind}]"
    found = next((name for name in options if name in ALEXEYAB_OPTIONS.get(kind, ())), None)
    if found is not None:
        return f"{found} in [{kind}]"
    if options.get("activation") in ALEXEYAB_ACTIVATIONS:
        return f"activation={options['activation']}"
    if kind == "shortcut" and "," in options.get("from", "").rstrip(","):
        return "a [shortcut] from several layers"
    return None
