"""The laws of DOMAIN 9, and the properties that prove each; all are drawn 500 examples of by `make test`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import settings

LAWS: dict[str, tuple[str, ...]] = {
    "permutation of delivery": (
        "test_fold_laws::test_permutation_duplication_and_any_cut",
        "test_fold_laws::test_two_deliveries_of_a_past_that_was_not_said_end_the_same",
        "test_topology_laws::test_deals_and_their_leads_end_the_same_in_any_order",
        "test_identity_laws::test_any_delivery_of_who_is_who_ends_the_same",
        "test_customer_laws::test_order_duplication_and_batches_change_nothing",
    ),
    "duplication": (
        "test_fold_laws::test_permutation_duplication_and_any_cut",
        "test_customer_laws::test_order_duplication_and_batches_change_nothing",
    ),
    "any batch cut": (
        "test_fold_laws::test_permutation_duplication_and_any_cut",
        "test_topology_laws::test_one_partition_or_eight_restarted_or_not_is_the_same",
    ),
    "any tick schedule": (
        "test_fold_laws::test_when_timers_run_and_in_which_order_facts_come_makes_no_difference",
        "test_version_laws::test_a_sweep_comes_out_the_same_whenever_timers_run_and_facts_come",
        "test_version_laws::test_a_version_may_change_anything",
    ),
    "prefix replay = live": (
        "test_fold_laws::test_catching_up_after_a_live_beginning",
        "test_fold_laws::test_a_worker_that_catches_up_finds_the_starts_that_a_live_one_said",
        "test_figures_laws::test_as_of_is_what_the_figures_were_then",
        "test_customer_laws::test_an_account_that_is_looked_at_early_is_a_prefix",
    ),
    "snapshot + tail = full replay": (
        "test_fold_laws::test_snapshot_and_tail_is_full_replay",
        "test_fold_laws::test_compaction_is_invisible_within_the_bounds",
    ),
    "merge then unmerge = identity": (
        "test_identity_laws::test_merge_and_unmerge_is_nothing",
        "test_topology_laws::test_merged_and_unmerged_is_as_if_never_merged",
    ),
    "sum of the ledger = score": (
        "test_fold_laws::test_the_rows_of_a_score_sum_to_it",
        "test_score_laws::test_a_score_is_the_formula",
        "test_score_laws::test_the_rows_of_a_score_sum_to_it_where_caps_cut",
    ),
    "sum of credit = revenue": (
        "test_revenue_laws::test_credit_is_what_was_booked_in_any_order",
        "test_customer_laws::test_credit_is_what_was_booked",
        "test_topology_laws::test_shares_sum_to_the_deal",
    ),
    "entered - left = balance": ("test_fold_laws::test_balance_is_entered_less_left",),
    "one terminal outcome per handoff": ("test_fold_laws::test_one_terminal_outcome_and_one_id_per_episode",),
    "distinct handoff ids per episode = 1": (
        "test_fold_laws::test_one_terminal_outcome_and_one_id_per_episode",
        "test_fold_laws::test_an_episode_that_was_said_keeps_its_id",
    ),
    "sequence gap-free": (
        "test_fold_laws::test_live_in_the_order_of_recording",
        "test_topology_laws::test_one_partition_or_eight_restarted_or_not_is_the_same",
        "test_identity_laws::test_in_the_order_of_recording_with_timers_and_with_ledgers_long_and_short",
        "test_flood_laws::test_what_is_held_back_is_not_said_and_all_else_is",
    ),
    "erasure keeps totals": ("test_privacy_laws::test_erasure_keeps_totals",),
}


def properties(module: str) -> set[str]:
    """Names of the module's tests that Hypothesis draws examples for."""
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text("utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Call) and ast.unparse(d.func) == "given" for d in node.decorator_list)
    }


def test_there_are_fourteen() -> None:
    assert len(LAWS) == 14


@pytest.mark.parametrize("law", LAWS)
def test_each_is_proved_by_properties(law: str) -> None:
    assert LAWS[law]
    for proof in LAWS[law]:
        module, _, name = proof.partition("::")
        assert name in properties(module), proof


def test_the_gate_draws_five_hundred_and_the_night_ten_thousand() -> None:
    assert settings.get_profile("ci").max_examples >= 500
    assert settings.get_profile("nightly").max_examples >= 10_000
