"""The ways in which the fold is broken on purpose, and the tests that notice."""

from __future__ import annotations

from tests.mutants import Mutant

_SCORE, _TIME = "tests/unit/test_scoring.py::", "tests/unit/test_cases_score_time.py::"
_DELIVERY, _STAGE = "tests/unit/test_cases_delivery.py::", "tests/unit/test_cases_stage.py::"
_HANDOFF, _OPERATION = "tests/unit/test_cases_handoff.py::", "tests/unit/test_cases_operation.py::"
_PRIORITY, _BROWSERS = "tests/unit/test_priority.py::", "tests/unit/test_cases_browsers.py::"
_SCORES = "tests/laws/test_score_laws.py::"
_IDENTITY, _WHO = "tests/unit/test_cases_identity.py::", "tests/laws/test_identity_laws.py::"
_WHOLE = "tests/laws/test_whole_machine.py"
_FOLD, _TOPOLOGY = "tests/laws/test_fold_laws.py::", "tests/laws/test_topology_laws.py::"

MUTANTS = (
    # Scores
    Mutant(
        "a skipped cap",
        "processors/scoring.py",
        "total += points if not rule.cap or points < rule.cap else rule.cap",
        "total += points",
        (
            _SCORE + "test_ten_thousand_page_views_are_worth_the_cap",
            _SCORES + "test_a_score_is_the_formula",
        ),
    ),
    Mutant(
        "a daily cap that takes the whole event or nothing",
        "processors/scoring.py",
        "points = rule.daily_cap - today",
        "points = 0",
        (_SCORE + "test_a_daily_cap_takes_a_part_of_the_event_that_reaches_it",),
    ),
    Mutant(
        "points that fade a day early",
        "processors/scoring.py",
        "age = day - acc[0]",
        "age = day - acc[0] + 1",
        (_SCORE + "test_half_of_it_is_left_after_a_half_life", _SCORES + "test_a_score_is_the_formula"),
    ),
    Mutant(
        "points that do not fade",
        "processors/scoring.py",
        "return acc[1] * rule.table[age] >> SHIFT if age < len(rule.table) else 0",
        "return acc[1]",
        (
            _TIME + "test_case_39_fading_below_unqualifies_by_time_and_the_open_handoff_is_kept",
            _SCORES + "test_a_score_is_the_formula",
        ),
    ),
    Mutant(
        "a bot that scores",
        "processors/scoring.py",
        "if not rules or (b & AGENT_MASK) >> AGENT_SHIFT >= PROXY:",
        "if not rules:",
        (_SCORE + "test_bots_and_proxies_score_nothing",),
    ),
    # The set of facts
    Mutant(
        "no dedupe",
        "processors/subject.py",
        "    at = ledger.find(row.ledger, b)\n    if at >= 0:\n        return met_again(row, at, e, out)\n",
        "",
        (
            _DELIVERY + "test_case_01_the_same_identity_and_payload_is_dropped",
            _FOLD + "test_permutation_duplication_and_any_cut",
        ),
    ),
    Mutant(
        "of two claims the last one stays",
        "processors/subject.py",
        "    if theirs >= mine and not named_anew:\n",
        "    if theirs < mine:\n",
        (
            _DELIVERY + "test_case_02_of_two_payloads_the_first_recorded_stays",
            _FOLD + "test_of_two_claims_to_one_identity_the_first_recorded_stays",
        ),
    ),
    Mutant(
        "ties in the order of arrival",
        "processors/subject.py",
        "after = a > head.a or (a == head.a and b > head.b)",
        "after = a >= head.a",
        (_FOLD + "test_permutation_duplication_and_any_cut",),
    ),
    Mutant(
        "no ranks of types",
        "processors/events.py",
        "RANK: dict[str, int] = {name: _RANKS.get(name, _RANK_ANSWER) for name in KIND}",
        "RANK: dict[str, int] = {name: _RANK_ANSWER for name in KIND}",
        (_HANDOFF + "test_at_one_instant_what_prospects_do_comes_before_what_sales_answers",),
    ),
    Mutant(
        "a late fact that is not folded in its place",
        "processors/subject.py",
        "    return min((a, b), (_unsaid_trigger(row, head, e) << 22, 0))\n",
        "    return None\n",
        (
            _DELIVERY + "test_case_04_stage_events_out_of_order_end_as_if_in_order_and_are_restated",
            _FOLD + "test_permutation_duplication_and_any_cut",
        ),
    ),
    Mutant(
        "a fold from a snapshot that lies behind the late fact",
        "processors/subject.py",
        "row.snapshots = [x for x in row.snapshots if (x[0], x[1]) < key]",
        "row.snapshots = list(row.snapshots)",
        (_FOLD + "test_snapshot_and_tail_is_full_replay",),
    ),
    Mutant(
        "a fact that is lost in compaction",
        "processors/ledger.py",
        "return ledger[at:], data[_payloads_before(ledger, at) :]",
        "return ledger[at + WIDTH :], data[_payloads_before(ledger, at + WIDTH) :]",
        (_FOLD + "test_compaction_is_invisible_within_the_bounds",),
    ),
    # Time
    Mutant(
        "a timer before the event of its instant",
        "processors/fold.py",
        "        while s.due < e[0] >> 22:\n",
        "        while s.due <= e[0] >> 22:\n",
        (
            _HANDOFF + "test_what_comes_at_the_instant_of_a_timer_comes_before_it",
            _FOLD + "test_when_timers_run_and_in_which_order_facts_come_makes_no_difference",
        ),
    ),
    Mutant(
        "clocks that do not know of summer time",
        "processors/days.py",
        "        if self._utc:\n            return [(from_ms, to_ms, 0)]\n",
        "        if True:\n            return [(from_ms, to_ms, 0 if self._utc else self._raw(0))]\n",
        (
            _TIME + "test_case_44_the_day_on_which_clocks_are_put_forward_has_its_real_hours",
            "tests/laws/test_calendar_laws.py::test_open_is_what_the_local_clock_reads",
        ),
    ),
    Mutant(
        "clocks that start before anybody could know",
        "processors/handoff.py",
        "start = t if backfill else start_of(s, t, scope)",
        "start = t",
        (
            _HANDOFF + "test_a_clock_starts_when_the_ground_could_be_known",
            _FOLD + "test_no_clock_starts_before_it_could_be_known",
        ),
    ),
    Mutant(
        "a pause that uses up time",
        "processors/handoff.py",
        "change(s, h, paused=0, pauses=(*h.pauses, t), **_moved(h, h.paused, calendar, t, calendar))",
        "change(s, h, paused=0, pauses=(*h.pauses, t))",
        (_TIME + "test_case_44_a_pause_across_the_due_instant_moves_it",),
    ),
    # Handoffs
    Mutant(
        "a hand-raise that an answer does not use up",
        "processors/handoff.py",
        "s.consumed = max(s.consumed, t)",
        "s.consumed = s.consumed",
        (_HANDOFF + "test_an_answer_uses_up_the_hand_raises_before_it",),
    ),
    Mutant(
        "an answer that pins nothing",
        "processors/say.py",
        "pinned = bool(h.touched) or answered or (before is not None and before.pinned)",
        "pinned = False",
        (
            _HANDOFF + "test_an_answer_pins_the_handoff",
            _FOLD + "test_an_answer_pins_its_handoff_whatever_comes_late",
        ),
    ),
    Mutant(
        "back-fill that calls sales",
        "processors/handoff.py",
        "silent = bool(backfill)",
        "silent = False",
        (_STAGE + "test_case_48_back_fill_moves_state_and_figures_and_calls_nobody",),
    ),
    Mutant(
        "a former owner who counts for ever",
        "processors/answers.py",
        "return actor != h.owner and bool(counts) and f.t > counts[-1]",
        "return False",
        (_STAGE + "test_case_33_the_previous_owner_counts_for_a_business_hour",),
    ),
    Mutant(
        "one threshold up and down",
        "processors/scoring.py",
        "return _suffices(s, t, points >= d.source.thresholds.down, d)",
        "return _suffices(s, t, points >= d.source.thresholds.up, d)",
        (_TIME + "test_case_39_fading_below_unqualifies_by_time_and_the_open_handoff_is_kept",),
    ),
    Mutant(
        "a journey that goes on as if sales had not answered",
        "processors/qualify.py",
        "    return not s.answered or scoring.raised(s, t, d) or (t > s.until and s.low)\n",
        "    return True\n",
        (_STAGE + "test_case_30_after_recycling_below_the_old_threshold_not_qualified_until_re_armed",),
    ),
    Mutant(
        "handoffs that are not known again",
        "processors/episodes.py",
        "        if first is None or order < first:\n",
        "        if False:\n",
        (
            _HANDOFF + "test_ids_and_sequences_survive_a_restart",
            _FOLD + "test_an_episode_that_was_said_keeps_its_id",
        ),
    ),
    # What is said
    Mutant(
        "a dropped sequence number",
        "processors/say.py",
        "sequence = row.sequences[topic] = row.sequences.get(topic, 0) + 1",
        "sequence = row.sequences[topic] = row.sequences.get(topic, 0) + 1 + (row.sequences.get(topic) == 2)",
        (
            _FOLD + "test_live_in_the_order_of_recording",
            _TOPOLOGY + "test_one_partition_or_eight_restarted_or_not_is_the_same",
        ),
    ),
    Mutant(
        "a decision that is withdrawn in silence",
        "processors/say.py",
        "        if key not in new and not handed_back(row, key, scope):\n",
        "        if False:\n",
        (
            _HANDOFF + "test_a_touch_that_arrives_after_the_breach_was_told_takes_it_back",
            _FOLD + "test_when_timers_run_and_in_which_order_facts_come_makes_no_difference",
        ),
    ),
    Mutant(
        "what is held back is forgotten",
        "processors/subject.py",
        "            row.waiting = True\n",
        "            row.waiting = False\n",
        (
            _OPERATION + "test_case_50_no_false_breach_after_workers_were_down",
            _FOLD + "test_permutation_duplication_and_any_cut",
        ),
    ),
    # Figures and money
    Mutant(
        "an exit that leaves no stage",
        "processors/lead_figures.py",
        '            put(("left", entry & CODE, old, *lead))\n',
        "            pass\n",
        (
            _STAGE + "test_case_29_a_re_entry_is_a_second_row",
            _FOLD + "test_balance_is_entered_less_left",
        ),
    ),
    Mutant(
        "a minor unit lost in rounding",
        "processors/money.py",
        "    for i in by_remainder[: amount - sum(shares)]:\n        shares[i] += 1\n",
        "",
        (
            _STAGE + "test_case_34_won_reopened_lost_is_reversed",
            _TOPOLOGY + "test_shares_sum_to_the_deal",
        ),
    ),
    Mutant(
        "credit that is rounded touch by touch",
        "processors/attribution.py",
        "    if missing:\n        for i in sorted(",
        "    if False:\n        for i in sorted(",
        (
            "tests/unit/test_attribution.py::test_shares_are_those_of_money",
            "tests/laws/test_revenue_laws.py::test_credit_is_what_was_booked_in_any_order",
        ),
    ),
    Mutant(
        "a share that is lost on a lead that was unlinked",
        "processors/deals.py",
        "            del self.leads[lead]\n",
        "            pass\n",
        (_STAGE + "test_a_lead_that_is_unlinked_stands_where_it_stood_and_the_others_have_its_share",),
    ),
    # Priorities
    Mutant(
        "a win model that looks at the lead after the deal was opened",
        "processors/deal_facts.py",
        "        call = _judged(s, f)\n        if j.exited or j.at < f.d.opportunity:\n"
        "            reach(s, f, f.d.opportunity)\n",
        "        if j.exited or j.at < f.d.opportunity:\n            reach(s, f, f.d.opportunity)\n"
        "        call = _judged(s, f)\n",
        (_PRIORITY + "test_a_deal_of_nobody_who_was_handed_over_is_judged_at_its_opening",),
    ),
    Mutant(
        "a win model that no handoff is judged by",
        "processors/priority.py",
        "            if h.trigger <= share.opened and h.call is not None:",
        "            if False:",
        (
            _PRIORITY + "test_closed_deals_are_counted_by_what_their_lead_was_judged_by_at_the_handoff",
            _PRIORITY + "test_nothing_that_comes_after_the_handoff_reaches_the_model",
        ),
    ),
    Mutant(
        "the newest snapshot for every handoff",
        "processors/priority.py",
        "scope.reference.win_model_at(h.begun)",
        "scope.reference.win_model_at(1 << 62)",
        (_PRIORITY + "test_the_snapshot_in_force_at_the_start_governs_to_the_end",),
    ),
    Mutant(
        "no smoothing",
        "processors/winmodel.py",
        "w *= (_TENTHS * won + 1)",
        "w *= (_TENTHS * won)",
        (_PRIORITY + "test_naive_bayes_by_hand",),
    ),
    Mutant(
        "an account owned without being matched",
        "processors/handoff.py",
        "if s.account else None",
        "if True else None",
        ("tests/unit/test_rules.py::test_without_a_matched_account_nobody_owns_it",),
    ),
    # People
    Mutant(
        "an alias of an alias that is lost",
        "processors/identity.py",
        "        _collect(m.members, out, since)\n",
        "        pass\n",
        ("tests/unit/test_cases_identity.py::test_case_12_a_chain_of_merges_ends_in_its_last_winner",),
    ),
    Mutant(
        "a fact of an erased past that is taken again",
        "processors/erasure.py",
        "return any(t <= x.at and (x.done or heard > x.heard) for x in row.erasures)",
        "return False",
        ("tests/laws/test_privacy_laws.py::test_live_in_the_order_of_recording_and_once_more",),
    ),
    # Partitions
    Mutant(
        "a second row on the wrong partition",
        "streams/batch.py",
        "        if home != self.partition:\n",
        "        if False:\n",
        (
            _OPERATION
            + "test_case_49_a_record_on_the_wrong_partition_is_forwarded_and_there_are_never_two_rows",
            _WHOLE,
        ),
    ),
    # Who is who
    Mutant(
        "a lost alias",
        "processors/identity.py",
        "since = max(known, m.known)\n",
        "since = max(known, m.known)\n        if m.alias:\n            continue\n",
        (
            _IDENTITY + "test_case_12_a_chain_of_merges_ends_in_its_last_winner",
            _WHO + "test_on_the_topology_partitions_batches_and_restarts_change_nothing",
        ),
    ),
    Mutant(
        "an unmerge that is not heard",
        "processors/identity.py",
        "and undone.isdisjoint(_names(e))",
        "",
        (
            _IDENTITY + "test_case_18_unmerged_as_if_never_merged",
            _WHO + "test_merge_and_unmerge_is_nothing",
        ),
    ),
    Mutant(
        "a circle that nobody breaks",
        "processors/identity.py",
        "return below is not None and (link.level, *link.edge) > max(below)",
        "return False",
        (_IDENTITY + "test_case_13_the_later_merge_of_a_circle_is_refused_and_both_are_told",),
    ),
    Mutant(
        "a clock that starts before anybody could know",
        "processors/ledger.py",
        "return e if recorded_at(a, c) >= at else (a, b, at - (a >> 22) + _EXACT << 48 | c & _PLACE, data)",
        "return e",
        ("tests/unit/test_cases_browsers.py::test_case_21_identified_late_its_history_is_at_its_own_times",),
    ),
    Mutant(
        "leads that were parted and outdo each other's epochs for ever",
        "processors/links.py",
        "found = [(name, known) for name in below]",
        "found = [(name, known) for name in below | row.spoke.keys()]",
        ("tests/unit/test_parted.py::test_a_circle_of_merges_of_which_two_were_taken_back_comes_to_rest",),
    ),
    # What was said before
    Mutant(
        "an answer that a touch had given",
        "processors/answers.py",
        "m.answered and m.end == f.t",
        "m.pinned and m.end == f.t",
        (_FOLD + "test_catching_up_after_a_live_beginning",),
    ),
    Mutant(
        "what could be known, without the calls that had been made",
        "processors/fold.py",
        "[] if now is None else [h for",
        "[] if True else [h for",
        (_FOLD + "test_a_worker_that_catches_up_finds_the_starts_that_a_live_one_said",),
    ),
    Mutant(
        "a call that loses the name by which it was answered",
        "processors/fold.py",
        "        if torn <= same:\n",
        "        if True:\n",
        (_FOLD + "test_an_episode_that_was_said_keeps_its_id",),
    ),
    # Small facts
    Mutant(
        "a person who comes back taken for a repetition",
        "processors/events.py",
        "        return (e.type, *who, str(e.occurred_at // _MINUTE))\n",
        "        return (e.type, *who)\n",
        (_BROWSERS + "test_case_22_the_first_one_comes_back_to_the_browser",),
    ),
    Mutant(
        "one time of a browser for each person",
        "processors/identity.py",
        '        members[f"{me}@{link.since}"] = Member(0, False, link.edge, blob, data, known=link.known)\n',
        "        pass\n",
        (_BROWSERS + "test_case_22_the_first_one_comes_back_to_the_browser",),
    ),
    Mutant(
        "a beginning that is thinned away",
        "processors/identity.py",
        "if _key(e) not in begin)",
        "if _key(e) != m.edge)",
        (_BROWSERS + "test_case_22_who_is_told_of_at_every_visit_has_no_row_without_end",),
    ),
    Mutant(
        "anonymous for no time at all, and yet counted as real",
        "processors/lifecycle.py",
        "        put(s, replace(j, entries=(first | IMPLIED, *rest)))\n",
        "        pass\n",
        (
            _STAGE + "test_case_25_won_before_any_lead_event_implies_the_whole_journey",
            _STAGE + "test_case_27_who_is_known_from_the_first_fact_on_was_never_anonymous",
        ),
    ),
    Mutant(
        "sales that works with what was known at the call",
        "processors/fold.py",
        "        if told is not None and told != (s.attributes, s.consent, s.shares):\n",
        "        if False:\n",
        ("tests/unit/test_context.py::test_what_becomes_known_after_the_call_updates_the_context",),
    ),
    Mutant(
        "a timer that failed is forgotten",
        "streams/partition.py",
        "        self.schedule(key, again)\n",
        "        self.due.pop(key, None)\n",
        (_OPERATION + "test_case_51_a_timer_that_fails_stops_neither_the_worker_nor_for_ever_the_row",),
    ),
    # Bounds
    Mutant(
        "a cut by the number of snapshots",
        "processors/subject.py",
        "min(bisect_left(places, most) + 1, len(places))",
        "min(-(-most // SPACING), len(places))",
        ("tests/unit/test_bounds.py::test_what_comes_at_once_is_cut_at_once",),
    ),
    Mutant(
        "snapshots of what is no longer there",
        "processors/subject.py",
        "following - at > SPACING or x[:2] in ends",
        "True",
        ("tests/unit/test_bounds.py::test_of_a_day_with_thousands_of_views_few_snapshots_are_left",),
    ),
    Mutant(
        "days on which only what cannot count happened, thinned away",
        "processors/subject.py",
        " or following - since >= DAY:",
        " or n == len(run) - 1:",
        (_FOLD + "test_compaction_is_invisible_within_the_bounds",),
    ),
)
