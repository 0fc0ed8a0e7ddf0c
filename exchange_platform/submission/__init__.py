"""An order's way: what applications call, what decides, how it reaches the exchange, and what became
of it.
"""

from exchange_platform.submission.service import BetSubmission as BetSubmission
