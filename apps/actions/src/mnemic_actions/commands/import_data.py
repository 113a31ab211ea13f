"""``mnemic-actions import-data``: the official feature pickles of THUMOS14 as one file for each video."""

from pathlib import Path


def import_data(official: Path, /, out: Path) -> None:
    """Turn an official feature pickle of THUMOS14 into rgb/VIDEO.npy and flow/VIDEO.npy, without running code from it.

    Files that exist are kept, so a stopped conversion continues. With thumos14_v2.json in the folder it is ready for
    training.

    Args:
        official: such as thumos_all_feature_val_V3.pickle (the training videos) or thumos_all_feature_test_V3.pickle.
        out: folder to write to; made when absent.
    """
    from mnemic_kit.output import show
    from mnemic_vision.matr.data import convert_thumos14

    videos = convert_thumos14(official, out)
    show(f"{len(videos)} videos: {out}")
