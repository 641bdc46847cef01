"""Every row of the declared semantics, and the tests that hold it: none may go missing, and none may be without a row.

Of every row, behaviours were taken out of the code one at a time, and a test of that row failed.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HELD_BY: dict[str, tuple[str, ...]] = {
    "a step": (
        "test_a_step_is_one_llm_call_sent",
        "test_a_step_is_an_attempt_also_one_that_failed_or_timed_out",
        "test_a_step_is_not_what_was_certainly_never_sent",
        "test_a_step_and_a_tool_call_have_limits_of_their_own",
    ),
    "tokens": (
        "test_tokens_are_input_and_output_as_billed_the_parts_inside",
        "test_tokens_mean_the_same_for_every_provider",
        "test_tokens_that_nobody_spoke_of_are_none_not_0",
        "test_tokens_of_an_input_that_nobody_spoke_of_are_not_0_on_a_span",
    ),
    "money": (
        "test_money_of_one_dollar_is_a_hundred_times_a_cent",
        "test_money_of_one_dollar_is_a_hundred_llm_calls_at_a_cent",
        "test_money_is_rounded_up_to_a_millionth_for_each_call",
        "test_money_at_the_edge_is_decimal",
        "test_money_keeps_its_digits_in_any_decimal_context",
    ),
    "price": (
        "test_price_is_the_users_own_else_the_published_one",
        "test_price_of_an_unknown_model_is_none_never_0",
        "test_price_is_looked_up_once_for_each_model",
    ),
    "unknown price": (
        "test_unknown_price_refuses_that_call_only",
        "test_unknown_price_uncaught_is_the_stop_reason",
        "test_unknown_price_needs_no_refusal_without_a_limit_of_money",
        "test_unknown_price_is_refused_under_an_ancestors_limit_too",
        "test_unknown_price_is_the_fallback_where_there_is_one",
        "test_unknown_price_of_the_response_settles_at_the_requested_models",
        "test_unknown_price_is_no_use_of_0",
        "test_unknown_price_does_not_hide_an_earlier_stop",
        "test_unknown_price_of_a_priced_tool_is_none_of_its_business",
    ),
    "when checked": (
        "test_when_checked_calls_in_flight_count_already",
        "test_when_checked_tasks_at_once_do_not_overshoot",
        "test_when_checked_the_actual_use_replaces_what_was_held",
        "test_when_checked_what_was_not_sent_gives_back_what_it_held",
    ),
    "what an LLM call reserves": (
        "test_what_an_llm_call_reserves_is_a_step_its_tokens_and_their_price",
        "test_what_an_llm_call_reserves_for_input_comes_from_its_messages",
        "test_what_an_llm_call_reserves_for_messages_that_are_read_once_is_told",
        "test_what_an_llm_call_reserves_without_any_estimate_is_its_output",
        "test_what_an_llm_call_reserves_without_a_maximum_is_the_default",
        "test_what_an_llm_call_reserves_without_a_maximum_fits_what_is_left",
        "test_what_an_llm_call_reserves_with_a_maximum_is_not_cut",
        "test_what_an_llm_call_reserves_and_overruns_is_settled_in_full_and_reported",
        "test_what_an_llm_call_reserves_says_what_still_fits",
    ),
    "refused only by others' holds": (
        "test_refused_only_by_others_holds_is_pending_and_marks_nothing",
        "test_refused_only_by_others_holds_is_not_what_a_spent_limit_is",
        "test_refused_only_by_others_holds_never_counts_as_an_ignored_stop",
        "test_refused_only_by_others_holds_uncaught_is_the_stop_reason",
    ),
    "no record": (
        "test_no_record_counts_as_sent_at_its_estimate",
        "test_no_record_of_one_half_takes_the_estimate_for_the_other",
        "test_no_record_is_not_a_whole_record",
        "test_no_record_is_no_surprise_where_the_call_failed",
        "test_no_record_warns_once_where_tokens_or_money_are_limited",
        "test_no_record_is_what_cannot_be_read_and_the_log_says_so",
    ),
    "parallel tools": (
        "test_parallel_tools_count_one_tool_call_each_and_no_step",
        "test_parallel_tools_pass_in_order_while_they_fit_and_the_run_goes_on",
        "test_parallel_tools_get_a_denial_that_the_model_can_read",
        "test_parallel_tools_are_a_stop_when_none_fits",
        "test_parallel_tools_hold_their_places_until_the_batch_ends",
        "test_parallel_tools_work_in_threads_and_with_async_with",
        "test_parallel_tools_work_with_async_with",
        "test_parallel_tools_are_held_to_each_tools_own_cap",
        "test_parallel_tools_are_looked_at_for_repeats_too",
        "test_parallel_tools_keep_to_a_tools_own_max_repeats",
    ),
    "denial or stop": (
        "test_denial_or_stop_a_capped_tool_is_denied_and_the_run_goes_on",
        "test_denial_or_stop_an_uncaught_denial_is_the_stop_reason",
        "test_denial_or_stop_a_stop_ends_the_run",
    ),
    "nested runs": (
        "test_nested_runs_count_in_themselves_and_in_every_ancestor",
        "test_nested_runs_never_spend_more_than_any_ancestor_has_left",
        "test_nested_runs_are_held_to_their_own_limits_too",
        "test_nested_runs_share_what_is_held_and_what_is_kept_back",
        "test_nested_runs_are_the_subtree_in_use_and_alone_in_what_is_summed",
    ),
    "who owns a stop": (
        "test_who_owns_a_stop_is_the_run_whose_limit_it_was",
        "test_who_owns_a_stop_is_the_ancestor_where_its_limit_is_spent",
        "test_who_owns_a_stop_gets_it_from_run_in_the_result",
        "test_who_owns_a_stop_is_asked_by_run_ancestors_stops_and_errors_go_on",
        "test_who_owns_a_stop_is_the_same_for_async_runs",
        "test_who_owns_a_stop_that_nobody_caught_is_still_the_child",
        "test_who_owns_a_denial_is_the_run_that_asked",
    ),
    "a stop is sticky": (
        "test_a_stop_is_sticky_every_later_gate_raises_it",
        "test_a_stop_is_sticky_when_swallowed_and_the_value_is_passed_on",
        "test_a_stop_is_sticky_also_when_the_limit_is_raised_or_another_one_is_hit",
        "test_a_stop_is_sticky_enough_to_end_who_ignores_it",
        "test_a_stop_is_sticky_up_to_the_border_of_the_run_it_belongs_to",
        "test_a_stop_is_sticky_for_each_task_on_its_own",
    ),
    "run.stop(code)": (
        "test_run_stop_marks_and_the_next_gate_raises",
        "test_run_stop_without_another_gate_is_the_reason_of_a_run_that_returns",
        "test_run_stop_keeps_the_first_reason",
        "test_run_stop_with_a_code_that_means_done_is_no_error",
    ),
    "graceful finish": (
        "test_graceful_finish_holds_its_part_from_the_start",
        "test_graceful_finish_passes_once_after_a_budget_stop",
        "test_graceful_finish_passes_once_even_when_asked_for_twice_at_once",
        "test_graceful_finish_passes_after_a_loop_stop",
        "test_graceful_finish_is_not_for_a_deadline_or_another_stop",
        "test_graceful_finish_that_does_not_fit_may_be_tried_smaller",
        "test_graceful_finish_keeps_its_part_in_every_ancestor",
        "test_graceful_finish_passes_in_the_run_that_kept_it_only",
        "test_graceful_finish_needs_a_budget_that_keeps_something",
    ),
    "deadline": (
        "test_deadline_of_a_sync_run_holds_at_each_gate",
        "test_deadline_of_a_sync_run_does_not_take_a_late_return_away",
        "test_deadline_of_an_async_run_interrupts_it",
        "test_deadline_of_an_async_generator_interrupts_each_step",
        "test_deadline_of_an_ancestor_interrupts_what_is_inside_it",
        "test_deadline_may_be_set_and_moved_while_an_async_run_is_open",
        "test_deadline_moved_at_the_very_end_leaves_nothing_behind",
        "test_deadline_is_not_taken_for_a_timeout_of_the_users",
        "test_deadline_needs_no_event_loop_of_asyncio",
    ),
    "loops": (
        "test_loops_stop_the_call_after_the_last_repeat_allowed",
        "test_loops_are_seen_through_another_spelling_of_the_same_arguments",
        "test_loops_are_seen_in_calls_with_one_object_again_and_again",
        "test_loops_are_none_where_the_arguments_only_look_the_same",
        "test_loops_have_a_limit_of_their_own_for_one_tool",
        "test_loops_through_a_nested_run_are_loops_of_the_outer_one",
        "test_loops_are_the_only_reason_to_hash_arguments",
        "test_and_who_judges_runs_by_their_spans",
    ),
    "warnings": (
        "test_warnings_come_once_for_each_limit_at_80_percent",
        "test_warnings_are_a_span_event_a_log_event_and_a_metric",
        "test_warnings_come_where_the_budget_says",
        "test_warnings_do_not_come_below_the_share",
        "test_warnings_of_an_ancestor_are_on_the_ancestor",
        "test_warnings_of_time_need_no_other_call",
        "test_warnings_of_time_come_at_the_end_at_the_latest",
        "test_warnings_come_before_an_interrupt",
        "test_warnings_of_a_cap_name_the_tool",
    ),
    "observe mode": (
        "test_observe_mode_counts_everything_and_raises_nothing",
        "test_observe_mode_tells_of_each_tools_cap",
        "test_observe_mode_interrupts_nothing",
        "test_observe_mode_leaves_an_explicit_stop_alone",
        "test_observe_mode_of_a_child_does_not_lift_its_parents_limits",
        "test_observe_mode_is_switched_on_for_a_whole_process",
        "test_observe_mode_of_the_environment_yields_to_the_runs_own",
    ),
    "changing limits": (
        "test_changing_limits_raises_or_lowers_them_while_a_run_is_open",
        "test_changing_limits_to_none_takes_them_away",
        "test_changing_limits_tells_old_new_and_who",
        "test_changing_limits_by_mistake_changes_nothing",
        "test_changing_limits_warns_anew_for_that_limit_only",
        "test_changing_limits_of_tools_and_repeats_holds_from_the_next_call_on",
    ),
    "streaming": (
        "test_streaming_is_one_call_settled_from_the_final_chunk",
        "test_streaming_through_an_object_of_a_client_is_one_call",
        "test_streaming_that_is_abandoned_settles_at_what_was_held",
        "test_streaming_that_reports_no_usage_settles_at_what_was_held",
    ),
    "cancellation": (
        "test_cancellation_closes_the_span_settles_and_goes_on",
        "test_cancellation_goes_on_unchanged",
    ),
    "threads": (
        "test_threads_spend_from_the_run_they_were_started_in",
        "test_threads_keep_every_run_to_itself_in_a_pool_that_serves_many",
        "test_threads_of_a_pool_are_born_in_no_run",
        "test_thread_pools_are_wrapped_whenever_they_are_imported",
        "test_threads_that_outlive_their_run_belong_to_none",
        "test_threads_of_other_kinds_are_reached_by_propagate",
        "test_threads_of_other_kinds_are_reached_by_propagate_of_a_coroutine",
        "test_threads_are_left_alone_where_asked",
        "test_threads_are_left_alone_where_the_official_instrumentation_is_active",
    ),
    "task groups": (
        "test_task_groups_of_nothing_but_the_runs_stop_are_that_stop",
        "test_task_groups_of_a_denial_are_that_denial",
        "test_task_groups_with_a_stop_and_a_denial_are_the_stop",
        "test_task_groups_with_a_stop_and_cancellations_are_the_stop",
        "test_task_groups_with_another_error_go_on_as_they_are",
        "test_task_groups_turn_into_the_stop_at_the_border_of_its_run_only",
        "test_task_groups_of_another_runs_stop_go_on_as_they_are",
        "test_task_groups_end_a_run_for_what_failed_in_them",
        "test_task_groups_that_leave_a_tool_are_the_tools_error",
        "test_task_groups_stopped_by_a_run_above_say_parent",
    ),
    "the lock": (
        "test_the_lock_is_not_waited_for_by_a_stream_collected_inside_a_gate",
        "test_the_lock_is_not_waited_for_by_a_signal_handler_inside_a_gate",
        "test_the_lock_is_free_while_the_users_code_runs",
    ),
    "after the end": (
        "test_after_the_end_a_gate_raises_run_closed",
        "test_after_the_end_a_new_run_is_a_root",
        "test_after_the_end_a_late_settle_is_accepted",
    ),
    "fork": ("test_fork_gives_the_child_a_copy_and_one_warning",),
    "which stop reason": (
        "test_which_stop_reason_an_exception_is",
        "test_which_stop_reason_a_return_is",
        "test_which_stop_reason_of_another_exception_than_the_one_that_left_a_block",
        "test_which_stop_reason_needs_nothing_of_the_exception",
        "test_which_stop_reason_is_the_stop_where_there_was_one",
        "test_which_stop_reason_is_the_same_in_every_set_up",
        "test_which_stop_reason_of_a_stop_that_the_application_raises_itself",
        "test_which_stop_reason_takes_no_second_record_of_an_exception",
    ),
    "exceptions on spans": (
        "test_exceptions_on_spans_have_type_and_frames_but_no_message",
        "test_exceptions_on_spans_have_their_message_where_asked",
        "test_exceptions_on_spans_have_their_type_alone_where_asked",
        "test_exceptions_on_spans_are_there_once_on_the_innermost",
        "test_exceptions_on_spans_of_another_run_are_there_again",
        "test_exceptions_on_spans_are_no_decisions_of_ours",
        "test_exceptions_on_spans_are_cut_in_the_middle_of_nothing",
        "test_exceptions_on_spans_may_have_a_message_that_fails",
    ),
}
ALSO_HELD_BY = {"deadline": "test_interrupt.py", "which stop reason": "test_exits.py"}

HERE = Path(__file__).parent


def names_in(file: Path) -> list[str]:
    """The names of the tests of a file."""
    nodes = ast.parse(file.read_text("utf-8")).body
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function.name for function in functions if function.name.startswith("test_")]


KNOWN = [name for file in sorted(HERE.glob("test_semantics_*.py")) for name in names_in(file)]


@pytest.mark.parametrize("row", HELD_BY)
def test_every_row_is_held_by_its_tests(row: str) -> None:
    assert HELD_BY[row]
    assert [name for name in HELD_BY[row] if name not in KNOWN] == []


def test_every_test_of_the_semantics_holds_one_row() -> None:
    listed = [name for names in HELD_BY.values() for name in names]
    assert sorted(listed) == sorted(KNOWN)


def test_every_row_that_other_files_help_to_hold_has_them() -> None:
    assert all(names_in(HERE / file) for file in ALSO_HELD_BY.values())


def test_all_rows_are_here() -> None:
    assert len(HELD_BY) == 30
