-- The plan of a request as it comes (ocs/charging/plan.py), and the record that it leaves (ocs/records.py).

-- A plan is one flat array (its first value means nothing): PLAN_FIXED values, the texts of P_LADDERS ladders, A_WIDTH
-- values for each of P_SERVICES services, the pieces of what was used: pairs of a ladder and units, A_PIECES pairs for each
-- service in turn, and from the place P_SOURCES on the sources, A_SOURCES of SOURCE_WIDTH values for each service in turn. A
-- service is told by its base `a`, the place before its first value: plan[a + A_KEY]; ladders are counted from 1, and what was
-- used of a unit is at plan[a + A_USED + unit] (below 0: nothing was told). P_ACCOUNT names the account and its member, if any
-- (session.lua, S_ACCOUNT), P_PAYER and P_MEMBER each. A_ORDER of the n-th service is the place of the one that is served n-th.
-- P_NEXT is the key of the tariff that the session goes on with (ocs/charging/switch.py), '' where it stays on P_TARIFF.
-- P_CORRELATION is the request's CC-Correlation-Id, kept in its record behind all else, where it has one.
-- P_QUOTA is '' where config says nothing of quota (ocs/charging/quota.py), else an array as text: Q_TELLS, and Q_WIDTH values for each service.
local P_NOW, P_OFFSET, P_SKEW, P_KIND, P_NUMBER, P_DIGEST, P_ACCOUNT, P_VERSION, P_TARIFF, P_AT = 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local P_ROUTE, P_SID, P_RULES, P_LADDERS, P_SERVICES, P_BEFORE, P_FACTS = 12, 13, 14, 15, 16, 17, 18
local P_PAYER, P_MEMBER, P_SOURCES, P_FIRST, P_GRACE, P_RENEWAL, P_NEXT, P_QUOTA = 19, 20, 21, 22, 23, 24, 25, 26
local P_CORRELATION = 27
local PLAN_FIXED = 27
local A_KEY, A_REFUSAL, A_UNIT, A_USED, A_WANTS, A_VALIDITY, A_RATE, A_LADDER, A_PIECES = 1, 2, 3, 3, 8, 9, 10, 11, 12
local A_EARLIER, A_MARK, A_CLOSES, A_ALWAYS, A_SOURCES, A_ORDER, A_GRANTED = 13, 14, 15, 16, 17, 18, 19
local A_WIDTH = 19
-- Kinds of unit (ocs/units.py): octets, seconds, events, money.
local UNIT_KINDS = 4
-- A_GRANTED is the ladder of what was granted, where the pieces cut by time what was used beyond it (0: the pieces tell all).
-- A_ALWAYS: granted to everybody, an emergency call; or received, which the grace of an account still allows.
local EMERGENCY, RECEIVED = 1, 2
-- Q_TELLS: the reply tells what the account has available: behind the outcome, or of a repeated request as its last value.
local Q_TELLS, Q_FIXED = 1, 1
-- Q_RESTRICTS: for want of credit the service is granted zero units, the last, and is not refused.
-- Q_ADAPT: a grant is to last so many seconds (0: the plan's wants are what is wanted), by the speed of use, of Q_MOST units at most
-- and, beyond the plan's wants, for Q_SHARE per cent of what is available at most.
-- Q_POOL: the number of the pool that a grant goes into (0: none; pools.lua).
local Q_RESTRICTS, Q_ADAPT, Q_MOST, Q_SHARE, Q_POOL = 1, 2, 3, 4, 5
local Q_WIDTH = 5
-- A worker's rules, the same in all its plans.
local RULE_SUPERVISION, RULE_TOMBSTONE, RULE_SESSIONS_MAX, RULE_SERVICES_MAX, RULE_WHERE_HALF = 1, 2, 3, 4, 5
-- The record is one flat array: CHARGE_FIXED fields, then a line of LINE_WIDTH fields for each service of the request, told by
-- its base `r` (ocs/records.py, Charge and Line).
local LINE_KEY, LINE_UNIT, LINE_CODE, LINE_UNITS, LINE_ODD, LINE_POSITION, LINE_AMOUNT = 1, 2, 3, 4, 5, 6, 7
local LINE_POSTED, LINE_GRANT, LINE_HOLD, LINE_RATE, LINE_PRICED, LINE_ALLOWANCE = 8, 9, 10, 11, 12, 13
local LINE_WIDTH, CHARGE_FIXED = 13, 22

-- What moved on rows, and the correlation, behind the lines of a record.
local function end_record(record, taken, plan)
  for i = 1, #taken do record[#record + 1] = taken[i] end
  if plan[P_CORRELATION] ~= '' then record[#record + 1] = plan[P_CORRELATION] end
end

local function read_plan(text)
  local plan = read_array(text)
  for i = PLAN_FIXED + 1, PLAN_FIXED + plan[P_LADDERS] do plan[i] = array_of(plan[i]) end
  return plan
end
