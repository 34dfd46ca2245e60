"""HTTP statuses: which error ends a request how. The other such table is the command line's."""

from __future__ import annotations

from typing import Final

from attestlog import errors

BY_ERROR: Final[dict[type[errors.AttestlogError], int]] = {
    errors.MalformedError: 400,
    errors.QueryError: 400,
    errors.TooLargeError: 413,
    errors.RequestTimeoutError: 408,
    errors.UnauthenticatedError: 401,
    errors.RateLimitError: 429,
    errors.IdempotencyError: 409,
    errors.ApprovalUsedError: 409,
    errors.UncertainCommitError: 500,
    errors.FullError: 507,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ExistsError: 409,
    errors.ConflictError: 409,
    errors.SplitViewError: 409,
    errors.StaleSizeError: 409,
    errors.ReplicationError: 503,
    errors.PublicationError: 503,
    errors.SinkError: 503,
    errors.TimestampError: 503,
    errors.WitnessError: 503,
    errors.UnknownOriginError: 404,
    errors.VerificationError: 422,
    errors.GovernanceError: 422,
    errors.SignerError: 503,
    errors.StorageError: 503,
    errors.LogError: 503,
    errors.MissingExtraError: 501,
    errors.NewerFormatError: 501,
    errors.AttestlogError: 500,
}
"""By class; a class that is not here has its nearest ancestor's."""


def status(error: errors.AttestlogError) -> int:
    """The status of the error's class or nearest ancestor."""
    return next(BY_ERROR[kind] for kind in type(error).__mro__ if kind in BY_ERROR)
