"""What may be wrong with a message, with the answer that names it.

Laws
1. A fault knows its answer: the result code, the AVP to put into Failed-AVP, and what of the request the answer needs.
2. The reason names AVPs, codes and lengths, never a value: values may be personal.
"""

from enum import IntEnum
from typing import Any, Final

from ocs.diameter.message import Header

_NOT_READ: Final = Header(0, 0, 0, 0, 0, 0, 0)


class ResultCode(IntEnum):
    """The result codes that we send or read: RFC 6733 section 7.1, RFC 8506 section 9."""

    SUCCESS = 2001
    LIMITED_SUCCESS = 2002
    COMMAND_UNSUPPORTED = 3001
    UNABLE_TO_DELIVER = 3002
    REALM_NOT_SERVED = 3003
    TOO_BUSY = 3004
    APPLICATION_UNSUPPORTED = 3007
    INVALID_HDR_BITS = 3008
    INVALID_AVP_BITS = 3009
    UNKNOWN_PEER = 3010
    OUT_OF_SPACE = 4002
    END_USER_SERVICE_DENIED = 4010
    CREDIT_CONTROL_NOT_APPLICABLE = 4011
    CREDIT_LIMIT_REACHED = 4012
    AVP_UNSUPPORTED = 5001
    UNKNOWN_SESSION_ID = 5002
    INVALID_AVP_VALUE = 5004
    MISSING_AVP = 5005
    CONTRADICTING_AVPS = 5007
    AVP_NOT_ALLOWED = 5008
    AVP_OCCURS_TOO_MANY_TIMES = 5009
    NO_COMMON_APPLICATION = 5010
    UNSUPPORTED_VERSION = 5011
    UNABLE_TO_COMPLY = 5012
    INVALID_AVP_LENGTH = 5014
    INVALID_MESSAGE_LENGTH = 5015
    NO_COMMON_SECURITY = 5017
    USER_UNKNOWN = 5030
    RATING_FAILED = 5031


class DecodeFault(Exception):
    """A message that cannot be served as it stands, and the answer to it.

    `result_code` is what to answer; `failed_avp` is one encoded AVP (the offending one inside the groups in which
    it lay, RFC 6733 section 7.5), or empty; `header` is the message's; `avps` are the top-level AVPs that the answer
    needs, as far as they could be read in spite of the fault.
    """

    __slots__ = ("avps", "failed_avp", "header", "reason", "result_code")

    def __init__(self, result_code: ResultCode, failed_avp: bytes, reason: str) -> None:
        super().__init__(int(result_code), reason)
        self.result_code = int(result_code)
        self.failed_avp = failed_avp
        self.reason = reason
        self.header = _NOT_READ
        self.avps: dict[str, Any] = {}
