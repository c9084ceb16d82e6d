"""Errors a user can mend. Each message says what was wrong, what was expected and what to do."""

from __future__ import annotations


class EdgedetError(Exception):
    """Base of every error edgedet raises on purpose.

    Attributes:
        exit_code: of the command, which prints the message on one line: 2 when the input or the usage was bad, 1
            when the work itself failed.

    >>> from edgedet import Detector
    >>> try:
    ...     Detector("gone.onnx")
    ... except EdgedetError as error:
    ...     print(type(error).__name__, error.exit_code)
    ArtifactError 2
    """

    exit_code = 2


class UsageError(EdgedetError):
    """Arguments that contradict one another or lack something required."""


class TaskError(UsageError):
    """A segmenter where a detector is needed, or the other way round."""


class CheckpointError(EdgedetError):
    """A checkpoint that cannot be read, is of an unknown architecture, or does not fit its class count."""


class UntrustedCheckpointError(CheckpointError):
    """A checkpoint that carries code; loading it would run that code."""


class AssumptionError(CheckpointError):
    """A source that leaves unsaid what boxes depend on, where nothing may be taken for granted (``--strict``)."""


class ArtifactError(EdgedetError):
    """A graph or engine that is missing, damaged, or not something edgedet can run."""


class EngineMismatchError(ArtifactError):
    """An engine built for another TensorRT version, compute capability or device."""


class DamagedArtifactError(ArtifactError):
    """An artifact whose bytes are not those that edgedet wrote."""


class SignatureError(ArtifactError):
    """An artifact without the signature that is required: missing, of other bytes, expired, or by another key."""


class SigningKeyError(EdgedetError):
    """A key to sign with, or to check signatures with, that cannot be used."""


class CalibrationError(EdgedetError):
    """Calibration images that are missing, too few or unusable."""


class AccuracyBudgetError(EdgedetError):
    """The accuracy guard could not keep the drop inside the budget."""

    exit_code = 1


class DatasetError(EdgedetError):
    """A dataset that is missing, not recognised, or has broken annotations in strict mode."""


class ReferenceBoxesError(EdgedetError):
    """Boxes made by another program that cannot be compared with: damaged, ambiguous, or of other pictures."""


class SourceError(EdgedetError):
    """A frame source (image, folder, video, camera) that cannot be opened or read."""


class UnreadableFramesError(SourceError):
    """Some frames of a source could not be read; the work on the others is done."""

    exit_code = 1


class SourceEndedError(SourceError):
    """A video, camera or stream ended before it should have; the frames until then are done."""

    exit_code = 1


class UndeliveredError(EdgedetError):
    """Alerts that could not be delivered to where they were to go."""

    exit_code = 1


class FrameError(EdgedetError, ValueError):
    """A frame whose shape or dtype cannot be understood as an image."""


class ProposalsError(EdgedetError, ValueError):
    """Proposals that cannot be boxes of their frame, or more than the network takes."""


class RuntimeUnavailableError(EdgedetError):
    """The runtime an artifact needs is not installed or does not work on this machine."""


class MissingDependencyError(EdgedetError):
    """A command needs an optional package that is not installed."""


class MissingWheelError(MissingDependencyError, ModuleNotFoundError):
    """A part of edgedet that a release has in a wheel of its own is not installed, or is of another version."""


class MissingExporterError(MissingWheelError, RuntimeUnavailableError):
    """What builds and reads checkpoints and engines is not installed, or is of another version than the rest."""


class ClusterError(EdgedetError):
    """A cluster that is not there, is of another version, or whose workers cannot go on."""


class OutputError(EdgedetError):
    """A file or folder that cannot be written."""


class ExportError(EdgedetError):
    """Exporting a checkpoint failed although the input was acceptable."""

    exit_code = 1


class InstallError(EdgedetError):
    """An artifact that is not put in the place of another one; that one is as it was."""

    exit_code = 1


class SelftestError(EdgedetError):
    """An artifact that no longer gives what it gave when it was made."""

    exit_code = 1
