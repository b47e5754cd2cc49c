"""Every bound on what comes over HTTP, and on what goes out to channels and operators, each with its reason and what happens beyond it."""

SUBSCRIPTIONS_MAX = 256
"""Subscriptions to events of a store; each has a worker in the keeper. Beyond: 409."""

SUBSCRIPTIONS_PER_OWNER_MAX = 32
"""Subscriptions of one client, so that none takes all. Beyond: 409."""

DELIVERIES_WAITING_MAX = 20_000
"""Notices that wait for one subscription (some 400 octets each). Beyond: what comes is a dead letter at once."""

DEAD_LETTERS_MAX = 10_000
"""Dead letters of one subscription (some 500 octets each). Beyond: the oldest is dropped, and counted."""

DEAD_LETTERS_PER_PAGE_MAX = 1_000
"""Dead letters that one HTTP answer lists, or one request retries or drops. Beyond: 422, or the next request's."""

DELIVERIES_AT_ONCE_MAX = 256
"""Deliveries under way at once. Beyond: the next wait for one that ends, within its time-out."""

DELIVERIES_LOOK_S = 5.0
"""Pause before a subscription's queue is looked at again without a word that something is new."""

CALLBACK_PAUSE_MS_MAX = 60_000
"""Longest pause between two tries at a callback that does not answer, however much waits for it."""

CALLBACK_CHARS_MAX = 2_048
"""Length of a callback's URL. Beyond: it is refused."""

CALLBACK_LOOKUPS_MAX = SUBSCRIPTIONS_MAX
"""Host names of callbacks that are looked up at once, in threads that are started as they are needed: one for each subscription, so that
no slow name server takes another's."""

CALLBACK_JUDGED_MS = 5_000
"""Time in which the name of a callback is to be found when it is subscribed. Beyond: it counts as unknown, 422."""

EVENTS_LEASE_MS = 15_000
"""Life of the lease that names who follows the stream and delivers; a server that died leaves both to another after it."""

ALLOWANCES_KEPT_MAX = 50_000
"""Allowances whose amount is remembered while the stream is followed (some 300 octets each). Beyond: the one not met for longest is looked
up again."""

EXPIRY_AT_ONCE = 100
"""Subscribers that are read at once in search of what ends soon."""

HTTP_CONNECTIONS_MAX = 256
"""HTTP connections at once; probes, scrapers and a browser need a few. Beyond: 503."""

HTTP_IDLE_S = 10
"""Time that an HTTP connection has for its next request's head (beyond: it is closed), and then for the body (beyond: 408)."""

HTTP_BODY_OCTETS_MAX = 65_536
"""Body of an HTTP request; ours are some hundred octets. Beyond: 413."""

JSON_NUMBER_CHARS_MAX = 40
"""Length of a number in JSON; the greatest amount has 16 digits. Beyond: 422."""

JSON_EXPONENT_MAX = 40
"""Exponent of a number in JSON, either way: a Decimal of 1e999999999 would take hours to become an integer. Beyond: 422."""

API_KEYS_MAX = 10_000
"""API keys of a store, revoked ones among them: a mistake in a script must not fill it. Beyond: none is made."""

API_KEY_NAME_CHARS_MAX = 64
"""Length of the name that an API key is given. Beyond: it is refused."""

API_RATE_MAX = 100_000
"""Requests a second that a key may be given; far above what one process of HTTP answers. Beyond: it is refused."""

API_BURST_MAX = 200_000
"""Requests at once that a key may be given, so that an hour's idleness earns no flood. Beyond: it is refused."""

API_TOKENS_MAX = 1_000
"""Valid tokens of one key (some 150 octets each in the store): a client that asks for one with every call is told. Beyond: 429."""

API_CREDENTIAL_CHARS_MAX = 256
"""Length of what a caller shows; a token has 61 characters. Beyond: it is none, and is not looked at."""

API_FAILURES_BURST = 20
"""Wrong credentials of an address at once. Beyond: 429 without a look at what it shows, unless that was right before."""

API_FAILURES_A_MINUTE = 10
"""Wrong credentials of an address in the long run: 256 bits are not guessed so, and the audit log is not filled."""

API_ADDRESSES_MAX = 10_000
"""Addresses whose wrong credentials are counted (some 200 octets each). Beyond: the one that was quiet longest is forgotten."""

API_KNOWN_MAX = 20_000
"""Credentials that were right lately, by their hash: they pass also from an address that shows wrong ones. Beyond: the oldest is forgotten."""

OAUTH_PARAMETERS_MAX = 16
"""Parameters of a request for a token; it knows four. Beyond: 400."""

AUDIT_TEXT_CHARS_MAX = 256
"""Length of one text in a line of the audit log. Beyond: it is cut, and ends with …."""

AUDIT_FIELDS_MAX = 32
"""Facts before, and after, a change in one line of the audit log. Beyond: those behind are left out."""

AUDIT_LATE_LINES_MAX = 10_000
"""Outcomes that a full disk holds up in memory (some 500 octets each). Beyond: the oldest is lost, and its intent alone tells."""

AUDIT_PER_PAGE_MAX = 1_000
"""Changes that one page of the audit log lists. Beyond: 422."""

AUDIT_SCANNED_OCTETS_MAX = 8 << 20
"""Octets of the audit log that one page looks through, which takes some 50 ms. Beyond: the page ends, and the next goes on there."""

SESSIONS_PER_PAGE_MAX = 1_000
"""Open sessions that one HTTP answer lists (some 300 octets each). Beyond: 422."""

TMF_PAGE = 100
"""Resources in a page of a TM Forum list that names no limit."""

TMF_PAGE_MAX = 1_000
"""Resources in one page of such a list (some 500 octets each). Beyond: 400."""

TMF_FILTERS_MAX = 32
"""Parameters of such a list's query; there are not many more attributes. Beyond: 400."""

TMF_VALUES_MAX = 64
"""Values that one filter of such a list names by commas; each is compared with each resource. Beyond: 400."""

TMF_LISTED_MAX = 10_000
"""Resources that one list looks through to filter and count them. Beyond: 400, which says how to ask for fewer."""

TMF_ACCOUNTS_MAX = 1_000
"""Subscribers in a store whose buckets are all listed where a list names nobody. Beyond: 400, which says to name somebody."""

TMF_ACCOUNTS_KEPT_MAX = 100_000
"""Accounts of which the API remembers in which partition they are (about 100 octets each). Beyond: all are forgotten and asked for again."""

TMF_TEXT_CHARS_MAX = 256
"""Length of a free text in a resource (description, reason, a name): it is kept with the action. Beyond: 400."""

VOUCHER_DIGITS_MIN = 12
"""Fewest digits of a voucher's code: of a million vouchers one guess in a million hits, and a few guesses lock. Below: refused."""

VOUCHER_DIGITS_MAX = 24
"""Most digits of a voucher's code; people type them. Beyond: refused."""

VOUCHERS_PER_BATCH_MAX = 1_000_000
"""Vouchers of one batch; more are several batches. Beyond: refused."""

VOUCHER_BATCHES_MAX = 10_000
"""Batches of a store, cancelled ones among them; all are listed at once. Beyond: none is made."""

VOUCHER_CHUNK = 5_000
"""Vouchers that are made, and exported, at once: all that is in memory of a batch (some 2 MB). A value of the store names as many (80 kB)."""

VOUCHERS_PER_CALL_MAX = 500
"""Vouchers that one function call makes or removes, some milliseconds of the store."""

VOUCHER_CLAIM_MS = 10_000
"""Age at which a voucher that a top-up has claimed counts as left behind, and the sweep finishes it: ten times the deadline of a call."""

VOUCHER_CLAIM_MS_MAX = 15 * 86_400_000
"""Age of a claim that nothing finishes by itself any more: a top-up is remembered for 30 days, and must not be made after. The audit names it."""

VOUCHER_DESCRIPTION_CHARS_MAX = 200
"""Length of a batch's description. Beyond: refused."""

VOUCHER_LIFE_MS_MAX = 20 * 366 * 86_400_000
"""How far ahead a batch may be valid at most; beyond it is a mistake: refused."""

VOUCHER_MAKING_MS_MAX = 3_600_000
"""Time that the making of a batch may take; a million take half a minute. Beyond: whoever made it has died, and the batch is cancelled."""

SUBSCRIBERS_PER_PAGE_MAX = 1_000
"""Subscribers that one HTTP answer lists (some 500 octets each). Beyond: 422."""

SERVICES_LISTED_MAX = 100_000
"""Subscribers up to which the service inventory lists by offset: each such page walks over the whole store (measured: some 20 us a
subscriber). Beyond: 400, which names the list that goes page by page."""
