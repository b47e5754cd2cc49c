"""Every bound on what comes from outside, each with its reason and what happens beyond it."""

SERVICES_PER_REQUEST_MAX = 32
"""Services (MSCC) in one CCR; gateways send up to a dozen. Beyond: 5009 with Failed-AVP, nothing is charged."""

SERVICE_IDENTIFIERS_MAX = 8
"""Service-Identifiers in one service (RFC 8506 section 8.16 allows several; real clients send one). Beyond: 5009 with Failed-AVP."""

SERVICE_CONTEXT_OCTETS_MAX = 255
"""Length of a Service-Context-Id (real ones stay below 64). Beyond: it belongs to no known service, 5031."""

MONEY_EXPONENT_MAX = 24
"""Exponent of an amount, either way: 10^24 of anything is no money, and digits that end 24 places behind the point are finer than a
micro-unit, or zeros. Beyond: 5004 with Failed-AVP, nothing is charged."""

GRANT_MICROS_MAX = 10**12
"""Largest amount, and largest amount a second, that settings may say of grants in money: a million. Beyond: a fault of the settings."""

CORRELATION_OCTETS_MAX = 128
"""Length of a CC-Correlation-Id that is kept in the request's record (an ICID or a UUID stays below 64). Beyond: it is not kept, and changes
nothing."""

SERVICE_NAMES_KEPT_MAX = 4_096
"""Services (rating groups and identifiers) whose encoded name a worker remembers. Beyond: all are forgotten and encoded again."""

SPELLINGS_KEPT_MAX = 65_536
"""Spellings of a request's identities whose normal form a worker remembers (about 500 octets each). Beyond: the one not met for
longest is normalised again."""

SPELLING_KEPT_CHARS_MAX = 256
"""Characters in a spelling that is remembered (real ones stay below 100). Beyond: it is normalised each time it comes."""

CONTEXTS_KEPT_MAX = 256
"""Service-Context-Ids of which a worker remembers the service. Beyond: the one not met for longest is judged again."""

SESSION_SERVICES_MAX = 64
"""Services that one session may accumulate; each keeps about 40 octets in the store. Beyond: that service gets 5031."""

SESSIONS_PER_SUBSCRIBER_MAX = 64
"""Open sessions of credit-control of one account; a phone has at most 11 bearers. Beyond: 4010, the Initial opens nothing."""

SESSION_ID_OCTETS_MAX = 255
"""Length of a Session-Id (RFC 6733 section 8.8 sets none; real ones stay below 100). Beyond: 5012, nothing is charged."""

OUTCOMES_KEPT = 8
"""Outcomes remembered per session, so that a repeated request gets the same answer (DESIGN law 5)."""

NUMBERS_WINDOW = 64
"""Request numbers of which a session knows whether they were seen (DESIGN law 5)."""

FACTS_KEPT_MAX = 4_096
"""Texts of what sessions are priced by that a worker remembers as read; most sessions share a few. Beyond: the one not met for longest
is read again."""

SESSIONS_KNOWN_MAX = 100_000
"""Sessions of which a worker remembers what they are rated by, where one ladder is not all (about 600 octets each). Beyond: the one
learnt first is forgotten; its next request is planned twice, since the store says what it is on."""

PLANS_PER_REQUEST_MAX = 3
"""Times a plan is made for one request before it is answered with 3004: the first and two after STALE."""

SKEW_MS_MAX = 2_000
"""Difference between our clock and the store's beyond which nothing is charged (3004 and an alarm)."""

SUBSCRIPTION_IDS_MAX = 8
"""Subscription-Ids read from one request; real clients send two. Beyond: the first eight count."""

PROFILES_CACHED_MAX = 200_000
"""Profiles that one worker remembers (about 700 octets each). Beyond: the oldest are forgotten and read again."""

WALLETS_KEPT_MAX = 20_000
"""Wallets of subscribers who hold products that one worker remembers (about 2 kB each). Beyond: the one made first is made again."""

RENEWAL_RETRY_MS = 3_600_000
"""Pause before the agenda looks again at a renewal that credit was short for; requests and top-ups try it meanwhile."""

END_RETRY_MS = 60_000
"""Time after which the agenda frees the number of a subscriber that was to be free at once, where who ended it has died."""

AGENDA_AT_ONCE = 50
"""Subscribers of one partition that one round of the agenda looks at: renewals of a whole network fall due at one midnight."""

EVENT_KEPT_MS = 24 * 3_600_000
"""Time for which a refund is remembered, so that a repetition gets the same answer and gives nothing back twice (DESIGN law 5)."""

REFUSED_EVENT_KEPT_MS = 300_000
"""Time for which a debit that took nothing is remembered, as an ended session is. Beyond: a repetition is judged anew, and counts once all
the same. A subscriber has no bound of refused events, so their life has to bound them: a client without credit that asks again and
again under new names, 10,000 times a second, keeps the store at some gigabyte, where a day of it would fill any."""

DEBIT_KEPT_MS = 30 * 24 * 3_600_000
"""Time within which a debit may be refunded (DESIGN law 5); it is remembered as long. Beyond: 5012, nothing is given back."""

DEBITS_LISTED_MAX = 32
"""Newest debits of a subscriber among which a refund that names none is looked for. Beyond: older ones need Refund-Information."""

REFUND_NUMBERS_MAX = 8
"""CC-Request-Numbers before a refund's own under which its Session-Id's debit is looked for, listed or not."""

CONTAINERS_PER_RECORD_MAX = 256
"""Containers in one accounting record (TS 32.251 lets an operator set some 10 to 50). Beyond: 5009 with Failed-AVP, nothing is posted."""

RECORD_AHEAD_S = 3_600
"""How much longer an accounting record is remembered than it may be old when it comes (accounting.age_s): clocks of clients run ahead."""

RECORD_FUTURE_S_MAX = 86_400
"""How far ahead of ours an accounting record's own time may be: more than any time zone taken for UTC. Beyond: set aside, as one that is too old."""

UNBILLED_OCTETS_MAX = 256 * 1_048_576
"""Size of a worker's file of accounting records that nobody can be billed for, some 100,000. Beyond: 4002, the client keeps its records."""

TOPUP_KEPT_MS = 30 * 24 * 3_600_000
"""Time for which a top-up's id is kept in the store (DESIGN law 5); after that the archive knows it."""

TOPUP_MICROS_MAX = 10_000 * 1_000_000
"""Largest single top-up. Beyond: refused with LIMIT."""

ACTION_REASON_CHARS_MAX = 200
"""Length of the reason that an action is given; it stands in its record. Beyond: refused."""

ACTION_CONTENT_CHARS_MAX = 4_096
"""Length of what else a client said of an action, which is kept with it for 30 days. Beyond: refused."""

RESERVED_MS_MAX = 7 * 24 * 3_600_000
"""How far ahead a reservation may end: an outside system that says nothing for so long has lost it. Beyond: refused."""

ACTIONS_PER_PAGE_MAX = 1_000
"""Actions that one listing tells at once. Beyond: refused."""

BOOK_MICROS_MAX = 2**52
"""Largest total of credits or of posted money of one account, half of what the store computes exactly."""

SPOOL_ENTRIES_MAX = 200_000
"""Terminations that a worker keeps on disk while the store is away, about 50 MB: half a minute of a busy worker. Beyond: 3004."""

SPOOL_UNDER_WAY_MAX = 64
"""Kept terminations that are charged at once when the store is back: beside the traffic, not before it."""

SPOOL_PAUSE_MS = 500
"""Time between two looks at what is kept."""

SPOOL_LOOK_PAUSES = 20
"""After so many of them it is looked for what a worker has left behind that is no more: 10 s."""

LINK_CALLS_WAITING_MAX = 16_384
"""Calls that wait on one link to the store: about half a second of the store's greatest rate. Beyond: LinkFull, answered with 3004."""

LINK_UNSENT_OCTETS_MAX = 16 * 1_048_576
"""Octets that the store has not read yet, all waiting calls at 1 KiB each. Beyond: LinkFull until it reads again."""

LINK_DEADLINE_MS = 1_000
"""Silence of the store while calls wait, after which the link is given up (LinkLost): the answer's own deadline."""

LINK_HEARTBEAT_MS = 1_000
"""Idle time after which a link is probed, so that a half-open one is found before a charge is."""

LINK_CONNECT_MS_MAX = 1_000
"""Time for connecting, TLS and introduction. Beyond: tried again with the back-off below."""

STORE_DEADLINE_MS = 1_000
"""Time for which a call that was refused unexecuted (MOVED, TRYAGAIN, LOADING, no link ...) is tried again. Beyond: 3004."""

STORE_CALLS_PARKED_MAX = 16_384
"""Calls that wait for a link or for the next attempt. Beyond: refused at once, answered with 3004."""

STORE_BACKOFF_MS_MIN = 50
"""First pause between two attempts to connect or to read the topology; it doubles up to STORE_BACKOFF_MS_MAX."""

STORE_BACKOFF_MS_MAX = 1_000
"""Longest pause between two attempts: a store that is back is used within this time."""

STORE_OPEN_MS_MAX = 5_000
"""Time that opening the store waits for every slot to be served. Beyond: the command ends with `store unavailable`."""

STORE_NODES_MAX = 1_000
"""Masters of one cluster (Redis Cluster's own recommended limit). Beyond: the topology is refused."""

SOCKET_PATH_OCTETS_MAX = 107
"""Longest path of a unix socket (sun_path is 108 octets with its zero). Beyond: through the folder's descriptor."""

AVP_DEPTH_MAX = 8
"""Groups inside groups that a Diameter grammar may ask for (the deepest of ours has 5). A grammar beyond it is refused when the codec
is bound, so the decoder's depth follows from the grammars and never from a message; what lies deeper is an AVP that no grammar knows."""

FAILED_AVP_OCTETS_MAX = 2_048
"""Longest AVP that is copied whole into a Failed-AVP. Beyond: its header and the shortest payload, in zeros."""

AVP_HEADS_KEPT_MAX = 512
"""AVP headers that one grammar remembers as already judged (about 200 octets each). Beyond: all are forgotten and judged again."""

SHAPES_KEPT_MAX = 512
"""Shapes of messages that a codec has learnt (about 20 kB each), and layouts that it counts. Beyond: all shapes are forgotten, and of the
layouts those that came seldom."""

SHAPES_ALIKE_MAX = 8
"""Shapes tried for one message (same length, command and first AVP header). Beyond: the oldest is forgotten."""

SHAPE_WALKS = 256
"""Times that a layout is walked before it is learnt: learning costs some 35 walks. Doubles where what was learnt is pushed out again."""

SHAPE_WALKS_MAX = 4_096
"""Walks of a layout that are worth its learning whatever becomes of it: learning is then a hundredth of them."""

SHAPE_LOOKS_EVERY = 16
"""Of so many walked messages one is counted by its layout; counting costs half a walk."""

SHAPE_AVPS_MAX = 250
"""AVPs of a shape; a longer message is walked each time."""

IDENTITIES_KEPT_MAX = 4_096
"""Diameter identities that a codec remembers as already judged. Beyond: all are forgotten and judged again."""

EMBEDDED_SILENT_MS_MAX = 30_000
"""Silence of a starting embedded store that is not loading. Beyond: the start fails with the tail of its log."""

EMBEDDED_STOP_MS_MAX = 10_000
"""Time an embedded store has to end after SIGTERM. Beyond: SIGKILL; acknowledged writes are in its file already."""

EMBEDDED_LOG_OCTETS_MAX = 8 * 1_048_576
"""Size of the embedded store's log at its start. Beyond: the log begins anew."""

MESSAGE_OCTETS_MAX = 65_536
"""Longest Diameter message taken (real ones stay below 4 kB). Beyond: that connection is closed, and counted."""

CAPABILITIES_MS = 10_000
"""Time that a connection has for its capabilities exchange; real ones take milliseconds. Beyond: it is closed."""

DISCONNECT_MS = 5_000
"""Time between a DPR and the end of its connection, whoever sent it. Beyond: it is closed."""

ARCHIVE_BATCH = 1_000
"""Records of a partition that are archived at once; a partition with as many is archived without waiting."""

ARCHIVE_WAIT_MS_MAX = 30_000
"""Time for which the records of a quiet partition wait for more before they are archived (an fsync each)."""

STREAM_ENTRIES_MAX = 100_000
"""Records that a lagging consumer group may keep on a partition's stream (about 40 MB). Beyond: archived, cut, alarm."""

GROUP_SILENT_MS = 600_000
"""Time for which a consumer group that does not come on keeps records on a stream. Beyond: archived, cut, counted; it resumes from the
archive."""

STREAM_READ_MAX = 500
"""Records of one partition that a reader of the stream takes at once."""

STREAM_POLL_MAX = 4_000
"""Records that a reader of the stream holds at once (some 400 octets each). Beyond: partitions wait for the next look."""

STREAM_PAUSE_MS_MIN = 100
"""First pause before a partition that had nothing is looked at again; it doubles up to STREAM_PAUSE_MS_MAX."""

STREAM_PAUSE_MS_MAX = 2_000
"""Longest pause between two looks at a quiet partition: 128 short commands a second for 256 partitions."""

STREAM_CHECK_MS = 30_000
"""How often a reader compares its place in a quiet partition with the stream's last id."""

CONNECTIONS_PER_WORKER_MAX = 4_096
"""Connections of one worker; an operator has tens of peers. Beyond: a new one is closed at once, and counted."""

CONNECTIONS_PER_PEER_MAX = 64
"""Connections of one Origin-Host to one worker; real elements open one or a few. Beyond: a new one is closed after its capabilities
exchange, and counted: a client that dials again without closing must not take every other's place."""

DESCRIPTORS_KEPT = 64
"""Descriptors that a worker keeps for all but its connections (store links, files, the loop): CONNECTIONS_PER_WORKER_MAX is at most
what the machine lets a process open, less these."""

STRANGERS_PER_WORKER_MAX = 256
"""Connections of one worker before their capabilities exchange, which takes milliseconds. Beyond: the oldest is closed, and counted."""

INFLIGHT_PER_WORKER_MAX = 8_000
"""Requests under way in one worker: half of what its link to the store lets wait. Beyond: 3004 at once."""

CLIENTS_KNOWN_MAX = 4_096
"""Origin-Hosts whose client profile a worker remembers. Beyond: it forgets them, and looks again."""

STATES_WAITING_MAX = 10_000
"""Origin-State-Ids of clients that wait to be written down. Beyond: passed over; they are said again."""

RESTART_ENDS_PER_S = 500
"""Sessions of a restarted client that are ended in a second: beside the traffic, as orders are (REAUTHORISE_PER_S)."""

RESTART_GRACE_WATCHDOGS = 3
"""How many watchdog periods a risen Origin-State-Id waits: a node that is alive says its own within two, if only in a watchdog."""

UPDATE_SHARE = 8
"""An eighth more than each in-flight bound is for updates: whoever is served already is refused after whoever comes anew."""

TERMINATION_SHARE = 4
"""A quarter more than each in-flight bound is for terminations, which are refused last: clients seldom repeat them."""

READ_OCTETS_PER_TURN = 65_536
"""Octets read from one connection in one turn of the loop, some 100 requests. Beyond: the others come first."""

UNSENT_OCTETS_HIGH = 262_144
"""Octets that a peer has not read, at which we stop reading from it: some 500 answers."""

UNSENT_OCTETS_MAX = 4 * 1_048_576
"""Octets that a peer has not read yet. Beyond: its connection is closed, and counted."""

UNSENT_MS_MAX = 10_000
"""Time for which a peer may leave more than UNSENT_OCTETS_HIGH unread, or its closed connection unflushed. Beyond: cut."""

TLS_HANDSHAKE_MS = 5_000
"""Time for a TLS handshake. Beyond: that connection is closed, and counted."""

LISTEN_BACKLOG = 1_024
"""Connections that wait to be accepted, for instance while all workers restart; the kernel refuses those beyond."""

PEER_LINES_PER_S = 10
"""Log lines of one event a second and worker about what peers do, so that a stranger cannot fill the disk. Beyond: counted, not logged."""

WORKER_STARTS_MS_MIN = 50
"""First pause before a process that died is started again; it doubles up to WORKER_STARTS_MS_MAX."""

WORKER_STARTS_MS_MAX = 5_000
"""Longest pause before a process that died is started again."""

WORKER_READY_MS_MAX = 60_000
"""Time that a process has to become ready after its start. Beyond: it is ended, and started again."""

WORKER_SILENT_MS_MAX = 15_000
"""Silence of a worker or keeper that reports every second: its loop hangs, and nobody is served. Beyond: killed, started again."""

NEWS_MAX = 64
"""Times at once that a worker tells the other sessions of accounts what one has used up or reached. Beyond: counted, and not told."""

JOB_PAUSE_MS = 1_000
"""First pause before a background job that failed is started again; it doubles up to JOB_PAUSE_MS_MAX."""

JOB_PAUSE_MS_MAX = 60_000
"""Longest pause before a background job that failed is started again."""

LOG_LINES_MAX = 4_096
"""Lines of the log that wait for a reader that is slow. Beyond: a line is dropped and counted."""

TOPUP_ID_OCTETS_MAX = 128
"""Length of a top-up's id; voucher platforms use UUIDs or shorter. Beyond: refused as a usage error."""

CREATES_AT_ONCE = 256
"""Subscribers that one bulk create has under way: enough to fill the store's group commits, far below the link's bound."""

STORE_PATIENCE_MS = 3_000
"""Time that a process started again waits for the store before it serves without it (3004), until the store is back."""

ARCHIVE_LEASE_MS = 15_000
"""Life of the lease that names the store's archiver; a server that died leaves the archive to another after it."""

CALENDAR_DAYS_KEPT_MAX = 512
"""Days of which one tariff's calendar remembers the windows (about 200 octets each). Beyond: all are forgotten and computed again."""

TARIFFS_LOOK_S = 5.0
"""Pause between two looks of a worker at the revision of the store's tariffs: a dozen before a new version can count."""

TARIFFS_SEEK_MS = 1_000
"""How long a worker that has just looked for a tariff in vain refuses it without another look."""

TARIFF_AHEAD_MS_MIN = 60_000
"""How far ahead a version's instant lies at least when it is put into the store, so that every worker knows it by then."""

REAUTHORISE_PER_S = 500
"""RARs and ASRs that a worker sends a second by default (diameter.reauthorise_per_s): each RAR comes back as a request, and this many
are a sixteenth of what a worker answers; 100,000 sessions of a tariff that changes are through in less than four minutes. Beyond: they wait."""

ORDERS_WAITING_MAX = 20_000
"""RARs and ASRs that wait in a worker for their turn (about 400 octets each): 40 s at the default rate. Beyond: dropped and counted; the
session's next request meets all that has changed anyway."""

ORDERS_PER_MESSAGE_MAX = 100
"""Orders in one message to a worker, some 20 kB. More are sent as several; a message with more is not read, and counted."""

OWED_PER_CONNECTION_MAX = 5_000
"""RARs and ASRs of one connection that wait for their answer: a peer that never answers has this many at the default rate. Beyond: dropped
and counted until answers come, or their time is up."""

OWED_MS = 10_000
"""Time for the answer to a RAR or ASR (RFC 6733 sets none; a watchdog takes no less). Beyond: counted as silent; nothing else follows."""

SWITCH_LATE_MS = 60_000
"""How long after a version's instant its sessions are still asked to re-authorise: a server that starts again meanwhile does it."""

SWITCH_TOLD_MS = 86_400_000
"""How long it is remembered that the sessions of a version were asked, far beyond the time in which it would be done again."""

BACKUP_CHUNK_OCTETS = 4 * 1_048_576
"""Octets that a backup reads, writes and syncs at once: the store's own syncs come in between."""

BACKUP_TRIES = 8
"""Times that a backup opens the store's files before it gives up, because the store has begun new ones meanwhile (seconds apart, at least)."""

EPOCH_LEAP = 1_000
"""How far a restored store's epochs are put beyond all that are known of: its ids must not be those of a future that nobody here knows of,
and a store is not started as often between a backup and its restore."""

UNDONE_BATCH = 1_000
"""Records that are set aside with one write when a store is restored to an instant."""

LIBRARY_TELL_S = 60
"""How often a process tells which function library it uses, and the keeper looks for those that nobody uses."""

LIBRARY_IDLE_MS = 600_000
"""Age of the last word of it at which a library counts as used by nobody: ten of those times."""

SQL_BUSY_MS = 30_000
"""How long a unit of work waits for another's end on SQLite before it fails: the longest ones (a thousand accounts billed) take seconds."""

SQL_ROWS_AT_ONCE = 500
"""Rows of one INSERT: each has some twenty values, and SQLite binds at most 32,766."""

PARTY_DEPTH_MAX = 8
"""Levels of a company's tree, the company among them: concern, company, region, branch, department and some. Deeper: refused."""

PARTIES_BELOW_MAX = 100_000
"""Parties of one company's tree that are looked at in one unit of work (some 200 octets each). Beyond: refused."""

CUSTOMERS_AT_ONCE = 1_000
"""Billing accounts that a bill run reads with one statement (some 2 kB each): memory stays flat whatever their number is."""

ACCOUNT_DUE_DAYS_MAX = 120
"""Days after which a bill is due at most; beyond 60 days needs an express and fair agreement (BGB section 271a). Beyond: refused."""

SERVICE_OPTIONS_MAX = 64
"""Options beside the plan of one service at once. Beyond: refused."""

PAYMENT_MICROS_MAX = 10**14
"""A hundred million of the currency in one payment: beyond it somebody has mistaken the unit. Refused."""

PAYMENT_TEXT_CHARS_MAX = 400
"""Of a payer's text: SEPA carries 140, and some banks put more into it. The rest is cut off."""

PAYMENT_WISHES_MAX = 100
"""Bills that one payment names. Beyond: refused."""

PAYMENT_WORDS_MAX = 60
"""Words of a payer's text that are looked at as numbers of bills and accounts; 140 characters have no more that could be one."""

STATEMENT_OCTETS_MAX = 64 * 1_048_576
"""A bank's statement as a file: some 2 kB for each entry, so some 30,000 of them. Beyond: refused."""

STATEMENT_ENTRIES_MAX = 100_000
"""Entries of one statement. Beyond: refused."""
