"""What goes wrong, each with the text that the library and the command have."""


class VeridicalError(Exception):
    """Whatever goes wrong; the others are of this class, too."""


class InvalidInput(VeridicalError, ValueError):
    """Arguments, settings, arrays, or contents of files that make no sense."""


class FileError(VeridicalError, OSError):
    """A file or directory that cannot be read or written."""


class MissingFileError(FileError, FileNotFoundError):
    """A file or directory that is not there."""


class OutOfMemory(VeridicalError, MemoryError):
    """Memory that a device does not have."""


class DeviceError(VeridicalError, RuntimeError):
    """A device that cannot be had, or that failed."""
