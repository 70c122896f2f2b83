"""A run's settings → what was done to train it, a line for each thing. Says nothing of what the run did not use."""

from __future__ import annotations

from vire_edge.training.backend import Precision
from vire_edge.training.recipes import Optimizer, Recipe
from vire_edge.training.settings import TrainSettings


def recipe_lines(settings: TrainSettings) -> list[str]:
    """The recipe in words, as far as the run's data, teachers and start let it take effect."""
    recipe, start = settings.effective_recipe, settings.start_from
    with_votes, teachers = settings.fer_plus is not None and recipe.votes > 0, settings.teachers
    warm_up = recipe.warm_up_epochs
    rising = f"{warm_up} epoch{'s' if warm_up > 1 else ''} of warm-up, then " if warm_up else ""
    optimizer = "SGD with Nesterov's momentum of 0.9" if recipe.optimizer is Optimizer.SGD else "Adam"
    optimizer += f", decoupled weight decay {recipe.weight_decay:g}" if recipe.weight_decay else ""
    weights = recipe.initializer if start is None else f"weights of `{start.name}` to begin with"
    power = recipe.class_weight_power
    optional = {
        f"computed in {settings.precision}, weights in float32": settings.precision is not Precision.FLOAT32,
        f"focal loss: an image counts less the surer its label is read, gamma {recipe.focal_gamma:g}": (
            recipe.focal_gamma > 0
        ),
        f"mixup {recipe.mixup:g} on half of the batches": recipe.mixup > 0,
        f"the votes of FER+, where given, make {recipe.votes:.0%} of the label": with_votes,
        f"distillation: the mean answer of {', '.join(f'`{path.name}`' for path in teachers)} makes "
        f"{recipe.distillation:.0%} of what is to be read": bool(teachers),
        f"the last {recipe.calm:.0%} of the epochs: half the changes, whole, unmixed, by {_followed(settings)}": (
            recipe.calm > 0
        ),
        f"kept: {1 - recipe.start_share:.0%} of what was learnt anew and {recipe.start_share:.0%} of the weights that "
        "it began with": start is not None and recipe.start_share > 0,
        f"stopped early after {recipe.patience} epochs without a lower held-out loss": recipe.patience > 0,
    }
    return [
        f"{optimizer}, learning rate {recipe.learning_rate:g}, "
        + (f"{rising}a cosine to 0" if recipe.cosine else "constant"),
        f"{recipe.epochs} epochs in batches of {recipe.batch_size}; {weights}; dropout {recipe.dropout:g}",
        f"augmentation: {_changes(recipe)}",
        f"label smoothing {recipe.label_smoothing:g}; moving average of the weights {recipe.averaging:g}",
        f"class weights: a class' frequency to the power of -{power:g}" if power else "class weights: none",
        *(line for line, applies in optional.items() if applies),
    ]


def _followed(settings: TrainSettings) -> str:
    """What the calm epochs learn from: votes that are all that is learnt stay."""
    only_votes = settings.fer_plus is not None and settings.effective_recipe.votes == 1
    base = "the votes" if only_votes else "the labels"
    return f"{base} and teachers" if settings.teachers else f"{base} alone"


def _changes(recipe: Recipe) -> str:
    change = recipe.augmentation
    if change.changes_nothing:
        return "none"
    return (
        f"rotated ±{change.rotation_degrees:g}°, shifted {change.shift:.0%}, sheared {change.shear:.0%}, zoomed "
        f"{change.zoom:.0%} in each direction and {change.scale:.0%} in both, {'' if change.flip else 'not '}mirrored, "
        f"contrast {change.contrast:.0%}, brightness {change.brightness:.0%}, {change.erasing:.0%} with a part erased"
    )
