"""What the "Methods" of a paper say of a StarDist model."""

from utils.errors import how_many
from utils.metrics.objects import IOU_THRESHOLD
from utils.tasks.bibliography import cited
from utils.tasks.methods import Run, Words


class ObjectMethods:
    """How the methods of a StarDist model are told: a part of `utils.tasks.objects.task.StarDist`."""

    def methods(self, run: Run) -> Words:
        """See `Task`."""
        network, kinds = run.description["network"], run.description["network"]["n_classes"]
        height, width = run.description["input"]["patch"]
        fraction = run.training.get("min_fraction")
        drawn = f", each with at least {100 * fraction:g} % of one foreground where possible" if fraction else ""
        named = f" and of the probabilities of {kinds} classes of objects ({cited('weigert2022')})" if kinds else ""
        normalised = " and batch normalisation" * bool(network["unet_batch_norm"])
        more = " and cross-entropy for the classes" if kinds else ""
        cells = f"{network['grid'][0]} x {network['grid'][1]}"
        return Words(
            f"StarDist ({cited('schmidt2018')}), a U-Net ({cited('ronneberger2015')}) of {network['unet_n_depth']} "
            "pooling "
            f"steps, {network['unet_n_filter_base']} filters at its first level{normalised}, predicted for each point "
            "of a grid of "
            f"{cells} pixels the probability of an object and its extent in {network['n_rays']} directions{named}",
            f"patches of {height} x {width} pixels (height x width){drawn}",
            "as losses binary cross-entropy for the probability of an object and the mean absolute error of "
            "the distances, "
            f"weighted by that probability{more}",
            f"Objects were kept above a probability of {run.description['threshold']:.3g}, and of those that "
            "overlapped by "
            f"more than {run.description['nms_threshold']:.3g} the most probable one; {_chosen(run)}.",
            "It is TP / (TP + FP + FN), where an annotated and a predicted object match (TP) if their intersection "
            "over "
            f"union is at least {IOU_THRESHOLD:g}, FP are predicted and FN annotated objects without a match, all "
            "counted "
            "over all test images together.",
            ("schmidt2018", "ronneberger2015", "vanderwalt2014", "weigert2018", *(["weigert2022"] if kinds else [])),
        )


def _chosen(run: Run) -> str:
    """How the thresholds were chosen; models of earlier versions do not say on how many images."""
    images = run.images("validation")
    if run.description.get("threshold_images", images):
        return f"both thresholds were chosen on the {how_many(images, 'validation image')}"
    return "both thresholds are those that StarDist has without a choice, as no validation image showed an object"
