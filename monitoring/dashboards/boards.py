"""What stands on the five boards. docs/monitoring.md says what each is for."""

from __future__ import annotations

from monitoring.dashboards.board import ENDPOINT, Board, Panel, Query, Row, quantile, rate

_VERDICT = "0 pass, 1 inconclusive, 2 error, 3 fail."
_BY_VERSION = "{{version}} as {{arm}}"

_SWITCH = Row(
    "Switch and release",
    (
        Panel(
            "Candidates out",
            "1: the kill switch has the candidate out of traffic.",
            (Query("max by (endpoint) (pointsman_killswitch_tripped)", "{{endpoint}}"),),
            numbers=True, alarm=1, width=6,
        ),
        Panel(
            "Worst verdict",
            f"Of all guards. {_VERDICT}",
            (Query("max by (endpoint) (pointsman_guard_verdict)", "{{endpoint}}"),),
            numbers=True, alarm=3, width=6,
        ),
        Panel(
            "Release phase",
            "Of the newest release, where releases pass gates.",
            (
                Query("max by (endpoint, phase) (pointsman_release_phase) == 1", "{{endpoint}}: {{phase}}"),
            ),
            numbers=True, width=6,
        ),
        Panel(
            "Stage",
            "Of the plan, counted from 0; -1 is the shadow stage before it.",
            (Query("max by (endpoint, version) (pointsman_release_stage)", "{{endpoint}}: {{version}}"),),
            numbers=True, width=6,
        ),
    ),
)  # fmt: skip

RELEASE = Board(
    "pointsman-release",
    "Pointsman: releases",
    "Where every release stands, and whether its candidate may go on.",
    (
        _SWITCH,
        Row(
            "Traffic and evidence",
            (
                Panel(
                    "Candidate's share",
                    "Of the requests that the flag exposes; 0 while the candidate is out.",
                    (
                        Query(
                            "max by (endpoint, version) (pointsman_candidate_weight)",
                            "{{endpoint}}: {{version}}",
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Strongest evidence against a candidate",
                    "log10 of the largest e-value of a guard: 3 is 1 in 1000 by chance.",
                    (Query("max by (endpoint) (pointsman_guard_evidence_log10)", "{{endpoint}}"),),
                    alarm=3,
                ),
                Panel(
                    "Flips",
                    "Share of the pairs in which a user would call it another prediction.",
                    (Query("pointsman:flips:ratio_rate5m", "{{endpoint}}: {{version}}"),),
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            "Trips",
            (
                Panel(
                    "Trips",
                    "Since the control process started.",
                    (Query("sum by (endpoint, cause) (pointsman_trips_total)", "{{endpoint}}: {{cause}}"),),
                ),
                Panel(
                    "Breach to last worker",
                    "How long workers needed to apply a trip: half and nearly all of them.",
                    (
                        Query(
                            "histogram_quantile(0.5, sum by (endpoint, le) (pointsman_trip_seconds_bucket))",
                            "{{endpoint}} half",
                        ),
                        Query(
                            "histogram_quantile(0.99, sum by (endpoint, le) (pointsman_trip_seconds_bucket))",
                            "{{endpoint}} 99 in 100",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Recovery",
                    "First bad pair to the last bad answer served.",
                    (
                        Query(
                            "histogram_quantile(0.95, "
                            "sum by (endpoint, cause, le) (pointsman_recovery_seconds_bucket))",
                            "{{endpoint}} by {{cause}}",
                        ),
                    ),
                    unit="s",
                ),
            ),
        ),
        Row(
            "Drills",
            (
                Panel(
                    "Last drill",
                    "1: it passed.",
                    (Query("min by (endpoint) (pointsman_drill_passed)", "{{endpoint}}"),),
                    numbers=True,
                ),
                Panel(
                    "Recovery in the last drill",
                    "First to last bad answer.",
                    (Query("max by (endpoint) (pointsman_drill_recovery_seconds)", "{{endpoint}}"),),
                    unit="s", numbers=True,
                ),
                Panel(
                    "Drills that are overdue",
                    "1: one was due and has not been run.",
                    (Query("max by (endpoint) (pointsman_drill_overdue)", "{{endpoint}}"),),
                    numbers=True, alarm=1,
                ),
            ),
        ),
        Row(
            "Lineage",
            (
                Panel(
                    "Fields of the lineage that are not known",
                    "Of 15, by version.",
                    (
                        Query(
                            "max by (endpoint, version) (pointsman_lineage_missing_fields)",
                            "{{endpoint}}: {{version}}",
                        ),
                    ),
                    numbers=True, width=24,
                ),
            ),
        ),
    ),
    chosen=False,
)  # fmt: skip

ENDPOINTS = Board(
    "pointsman-endpoint",
    "Pointsman: endpoint",
    "One endpoint: its traffic, its two versions side by side, its guards.",
    (
        Row(
            "Traffic",
            (
                Panel(
                    "Requests",
                    "Answered, a second.",
                    (Query(rate("pointsman_requests_total", "version, arm", ENDPOINT), _BY_VERSION),),
                    unit="reqps",
                ),
                Panel(
                    "Errors",
                    "Share of the clients' answers that are 5xx.",
                    (Query(f"pointsman:errors:ratio_rate5m{{{ENDPOINT}}}", "{{endpoint}}"),),
                    unit="percentunit", alarm=0.02,
                ),
                Panel(
                    "Answers by status",
                    "A second. Status 0: none was sent.",
                    (Query(rate("pointsman_requests_total", "status", ENDPOINT), "{{status}}"),),
                    unit="reqps",
                ),
                Panel(
                    "Latency, 99 in 100",
                    "Request to the last byte of the answer.",
                    (
                        Query(
                            quantile(
                                0.99, "pointsman_request_duration_seconds", "version, arm", ENDPOINT
                            ),
                            _BY_VERSION,
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Latency, half",
                    "Request to the last byte of the answer.",
                    (
                        Query(
                            quantile(0.5, "pointsman_request_duration_seconds", "version, arm", ENDPOINT),
                            _BY_VERSION,
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Added by the gateway, 99 in 100",
                    "Sampled.",
                    (Query(quantile(0.99, "pointsman_gateway_overhead_seconds", "endpoint", ENDPOINT)),),
                    unit="s", alarm=0.01,
                ),
            ),
        ),
        Row(
            "Candidate against incumbent",
            (
                Panel(
                    "Divergence",
                    "Mean of the pairs of late, 0 to 1.",
                    (
                        Query(
                            f"{rate('pointsman_divergence_score_sum', 'version', ENDPOINT)} / "
                            f"{rate('pointsman_divergence_score_count', 'version', ENDPOINT)}",
                            "{{version}}",
                        ),
                    ),
                ),
                Panel(
                    "Flips",
                    "Share of the pairs.",
                    (Query(f"pointsman:flips:ratio_rate5m{{{ENDPOINT}}}", "{{version}}"),),
                    unit="percentunit",
                ),
                Panel(
                    "Mirrored requests",
                    "A second, by how they ended.",
                    (Query(rate("pointsman_mirrors_total", "outcome", ENDPOINT), "{{outcome}}"),),
                    unit="reqps",
                ),
                Panel(
                    "Confidence",
                    "Mean of the predictions in pairs.",
                    (
                        Query(
                            f"{rate('pointsman_confidence_sum', 'version', ENDPOINT)} / "
                            f"{rate('pointsman_confidence_count', 'version', ENDPOINT)}",
                            "{{version}}",
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Classes",
                    "Predictions in pairs, a second.",
                    (
                        Query(
                            rate("pointsman_predictions_total", "version, class", ENDPOINT),
                            "{{version}}: {{class}}",
                        ),
                    ),
                ),
                Panel(
                    "Answers that could not be read",
                    "Since the control process started.",
                    (Query(f"sum by (arm) (pointsman_unreadable_answers_total{{{ENDPOINT}}})", "{{arm}}"),),
                ),
            ),
        ),
        Row(
            "Guards",
            (
                Panel(
                    "Evidence",
                    "log10 of the e-value: 3 is 1 in 1000 by chance.",
                    (
                        Query(
                            f"max by (guard) (pointsman_guard_evidence_log10{{{ENDPOINT}}})", "{{guard}}"
                        ),
                    ),
                    alarm=3,
                ),
                Panel(
                    "Estimates with their bounds",
                    "The signal's mean; the bounds hold at every look, 95 %.",
                    (
                        Query(f"max by (guard) (pointsman_guard_estimate{{{ENDPOINT}}})", "{{guard}}"),
                        Query(
                            f"min by (guard) (pointsman_guard_bound_low{{{ENDPOINT}}})", "{{guard}}, low"
                        ),
                        Query(
                            f"max by (guard) (pointsman_guard_bound_high{{{ENDPOINT}}})", "{{guard}}, high"
                        ),
                    ),
                ),
                Panel(
                    "Verdicts",
                    _VERDICT,
                    (Query(f"max by (guard) (pointsman_guard_verdict{{{ENDPOINT}}})", "{{guard}}"),),
                    alarm=3,
                ),
                Panel(
                    "Votes",
                    "Counted.",
                    (Query(f"max by (guard) (pointsman_guard_votes{{{ENDPOINT}}})", "{{guard}}"),),
                    width=12,
                ),
                Panel(
                    "Votes missing for a pass",
                    "If they are like those so far.",
                    (Query(f"max by (guard) (pointsman_guard_pairs_needed{{{ENDPOINT}}})", "{{guard}}"),),
                    width=12,
                ),
            ),
        ),
    ),
)  # fmt: skip

INFRASTRUCTURE = Board(
    "pointsman-infrastructure",
    "Pointsman: models and infrastructure",
    "The models' behaviour above, what they run on below: is it the model, or the machine?",
    (
        Row(
            "Models",
            (
                Panel(
                    "Latency, 99 in 100",
                    "As clients see it.",
                    (
                        Query(
                            quantile(
                                0.99, "pointsman_request_duration_seconds", "version, arm", ENDPOINT
                            ),
                            _BY_VERSION,
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Flips",
                    "Share of the pairs.",
                    (Query(f"pointsman:flips:ratio_rate5m{{{ENDPOINT}}}", "{{version}}"),),
                    unit="percentunit",
                ),
                Panel(
                    "Errors",
                    "Share of the clients' answers that are 5xx.",
                    (Query(f"pointsman:errors:ratio_rate5m{{{ENDPOINT}}}", "{{endpoint}}"),),
                    unit="percentunit", alarm=0.02,
                ),
            ),
        ),
        Row(
            "Model servers",
            (
                Panel(
                    "Memory",
                    "As the servers themselves tell it (`metrics` of the version).",
                    (
                        Query(
                            f"max by (version, server) (process_resident_memory_bytes{{{ENDPOINT}}})",
                            "{{version}} at {{server}}",
                        ),
                    ),
                    unit="bytes",
                ),
                Panel(
                    "Processor",
                    "As the servers themselves tell it: processors in use.",
                    (
                        Query(
                            rate("process_cpu_seconds_total", "version, server", ENDPOINT),
                            "{{version}} at {{server}}",
                        ),
                    ),
                ),
                Panel(
                    "Servers that give their metrics",
                    "1: yes.",
                    (
                        Query(
                            f"min by (version, server) (pointsman_scrape_up{{{ENDPOINT}}})",
                            "{{version}} at {{server}}",
                        ),
                    ),
                    numbers=True,
                ),
                Panel(
                    "Servers that are not asked",
                    "Workers that know a reason not to.",
                    (
                        Query(
                            "max by (server, reason) (pointsman_server_out)", "{{server}}: {{reason}}"
                        ),
                    ),
                    alarm=1, width=12,
                ),
                Panel(
                    "Connects that failed",
                    "Since the control process started.",
                    (
                        Query(
                            "sum by (server, kind) (pointsman_connect_failures_total)",
                            "{{server}}: {{kind}}",
                        ),
                    ),
                    width=12,
                ),
            ),
        ),
        Row(
            "Machine of the gateway",
            (
                Panel(
                    "Processors",
                    "Share of their time that was worked.",
                    (Query("pointsman:host_cpu:busy5m", "{{instance}}"),),
                    unit="percentunit",
                ),
                Panel(
                    "Memory available",
                    "Of the machine's.",
                    (
                        Query(
                            'pointsman_host_memory_bytes{kind="available"} / on (instance) '
                            'pointsman_host_memory_bytes{kind="total"}',
                            "{{instance}}",
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Load",
                    "Processes that run or wait to.",
                    (Query("pointsman_host_load", "{{instance}} {{minutes}} min"),),
                ),
            ),
        ),
    ),
)  # fmt: skip

DRIFT = Board(
    "pointsman-drift",
    "Pointsman: drift and labels",
    "Are requests what they were, and are predictions right?",
    (
        Row(
            "Drift",
            (
                Panel(
                    "Features",
                    "Total variation from the reference, 0 to 1.",
                    (
                        Query(
                            f"max by (endpoint, feature) (pointsman_feature_drift{{{ENDPOINT}}})",
                            "{{endpoint}}: {{feature}}",
                        ),
                    ),
                    width=12,
                ),
                Panel(
                    "Verdict on drift",
                    f"It warns, and holds promotions. {_VERDICT}",
                    (
                        Query(
                            f'max by (endpoint) (pointsman_guard_verdict{{guard="drift",{ENDPOINT}}})',
                            "{{endpoint}}",
                        ),
                    ),
                    alarm=3, width=12,
                ),
                Panel(
                    "Classes",
                    "Share of each in the predictions of late.",
                    (
                        Query(
                            f"{rate('pointsman_predictions_total', 'version, class', ENDPOINT)} / "
                            "on (version) group_left () "
                            f"{rate('pointsman_predictions_total', 'version', ENDPOINT)}",
                            "{{version}}: {{class}}",
                        ),
                    ),
                    unit="percentunit", width=12,
                ),
                Panel(
                    "Confidence, half",
                    "Half of the predictions are less confident.",
                    (Query(quantile(0.5, "pointsman_confidence", "version", ENDPOINT), "{{version}}"),),
                    unit="percentunit", width=12,
                ),
            ),
        ),
        Row(
            "Labels",
            (
                Panel(
                    "Accuracy",
                    "Share of right predictions of all labelled ones.",
                    (
                        Query(
                            f'max by (version) (pointsman_accuracy{{cohort="all",{ENDPOINT}}})', "{{version}}"
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Accuracy by cohort",
                    "Share of right predictions.",
                    (
                        Query(
                            f'max by (version, cohort) (pointsman_accuracy{{cohort!="all",{ENDPOINT}}})',
                            "{{version}}: {{cohort}}",
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Labels",
                    "Joined to their predictions, a second.",
                    (Query(rate("pointsman_label_delay_seconds_count", "endpoint", ENDPOINT)),),
                ),
                Panel(
                    "From a request to its label",
                    "Half of the labels, and nine in ten, since the control process started.",
                    (
                        Query(
                            "histogram_quantile(0.5, sum by (endpoint, le) "
                            f"(pointsman_label_delay_seconds_bucket{{{ENDPOINT}}}))",
                            "{{endpoint}} half",
                        ),
                        Query(
                            "histogram_quantile(0.9, sum by (endpoint, le) "
                            f"(pointsman_label_delay_seconds_bucket{{{ENDPOINT}}}))",
                            "{{endpoint}} 9 in 10",
                        ),
                    ),
                    unit="s", width=24,
                ),
            ),
        ),
    ),
)  # fmt: skip

GATEWAY = Board(
    "pointsman-gateway",
    "Pointsman: the gateway itself",
    "Its processes, the link between them, what is kept, and what was lost.",
    (
        Row(
            "Processes",
            (
                Panel(
                    "Processor",
                    "Processors in use.",
                    (
                        Query(
                            rate("pointsman_process_cpu_seconds_total", "instance, process"),
                            "{{instance}} {{process}}",
                        ),
                    ),
                ),
                Panel(
                    "Memory",
                    "In use.",
                    (Query("pointsman_process_resident_bytes", "{{instance}} {{process}}"),),
                    unit="bytes",
                ),
                Panel(
                    "File descriptors",
                    "Share of those allowed that are open.",
                    (
                        Query(
                            "pointsman_process_open_descriptors / pointsman_process_most_descriptors",
                            "{{instance}} {{process}}",
                        ),
                    ),
                    unit="percentunit", alarm=0.8,
                ),
                Panel(
                    "Event loop, 99 in 100",
                    "How late it comes to what is due.",
                    (
                        Query(
                            quantile(0.99, "pointsman_event_loop_lag_seconds", "instance, process"),
                            "{{instance}} {{process}}",
                        ),
                    ),
                    unit="s", alarm=0.1,
                ),
                Panel(
                    "Threads",
                    "By process.",
                    (Query("pointsman_process_threads", "{{instance}} {{process}}"),),
                ),
                Panel(
                    "Tasks that failed",
                    "Since the control process started; always a defect.",
                    (Query("sum by (task) (pointsman_task_failures_total) or vector(0)", "{{task}}"),),
                    numbers=True, alarm=1,
                ),
            ),
        ),
        Row(
            "Link and evidence",
            (
                Panel(
                    "Batches that are not acknowledged",
                    "At 64 a worker waits.",
                    (Query("pointsman_link_backlog_batches", "{{instance}} worker {{worker}}"),),
                    alarm=48,
                ),
                Panel(
                    "Pairs on their way to a verdict",
                    "In the workers, and in the control process.",
                    (
                        Query("pointsman_link_backlog_pairs", "{{instance}} worker {{worker}}"),
                        Query("pointsman_backlog_pairs", "{{instance}} control"),
                    ),
                    alarm=5000,
                ),
                Panel(
                    "Observations dropped",
                    "Since the control process started, by reason.",
                    (Query("sum by (reason) (pointsman_observations_dropped_total)", "{{reason}}"),),
                ),
                Panel(
                    "Snapshot generation",
                    "That each worker serves from: one line, or somebody is behind.",
                    (Query("pointsman_snapshot_generation", "{{instance}} worker {{worker}}"),),
                ),
                Panel(
                    "Age of the snapshot",
                    "Since each worker took it.",
                    (Query("pointsman_snapshot_age_seconds", "{{instance}} worker {{worker}}"),),
                    unit="s",
                ),
                Panel(
                    "What happened to clients' connections",
                    "Since the control process started.",
                    (Query("sum by (event) (pointsman_gateway_events_total)", "{{event}}"),),
                ),
            ),
        ),
        Row(
            "Prediction log, notifications, approvals",
            (
                Panel(
                    "Records a second",
                    "That are on disk, by what became of them.",
                    (Query(rate("pointsman_log_records_total", "outcome"), "{{outcome}}"),),
                    width=6,
                ),
                Panel(
                    "Records lost",
                    "Since the log's process started, by reason. Always worth a look.",
                    (Query("sum by (reason) (pointsman_log_dropped_total) or vector(0)", "{{reason}}"),),
                    alarm=1, width=6,
                ),
                Panel(
                    "Records that wait",
                    "For the disk, and on disk for a sink.",
                    (
                        Query("pointsman_log_backlog_records", "{{instance}} disk"),
                        Query(
                            "sum by (sink) (pointsman_log_forward_backlog_records) or vector(0)", "{{sink}}"
                        ),
                    ),
                    width=6,
                ),
                Panel(
                    "Prediction log on disk",
                    "All of its segments.",
                    (Query("pointsman_log_bytes", "{{instance}}"),),
                    unit="bytes", width=6,
                ),
                Panel(
                    "Sinks that have nothing sent",
                    "Streams, topics and archives that cannot be written now.",
                    (
                        Query(
                            "count(pointsman_log_forward_up == 0 or pointsman_log_archive_up == 0) "
                            "or vector(0)",
                            "sinks",
                        ),
                    ),
                    numbers=True, alarm=1, width=6,
                ),
                Panel(
                    "Spans",
                    "Since the log's process started, by what became of them.",
                    (Query("sum by (outcome) (pointsman_spans_total) or vector(0)", "{{outcome}}"),),
                    width=6,
                ),
                Panel(
                    "Notifications that wait",
                    "By receiver.",
                    (
                        Query(
                            "sum by (receiver) (pointsman_notifications_waiting) or vector(0)", "{{receiver}}"
                        ),
                    ),
                    width=6,
                ),
                Panel(
                    "Approvals missing",
                    "People who have to approve before a release goes on.",
                    (
                        Query(
                            "sum by (endpoint) (pointsman_release_approvals_missing) or vector(0)",
                            "{{endpoint}}",
                        ),
                    ),
                    numbers=True, width=6,
                ),
            ),
        ),
        Row(
            "State",
            (
                Panel(
                    "Kills that are not durable",
                    "Above 0 a restart would forget them.",
                    (Query("pointsman_kills_not_durable", "{{instance}}"),),
                    numbers=True, alarm=1, width=6,
                ),
                Panel(
                    "Failed calls of the database",
                    "Since the control process started.",
                    (Query("pointsman_store_failures_total", "{{instance}}"),),
                    width=6,
                ),
                Panel(
                    "Events that are not in the audit chain yet",
                    "And whether the chain is intact: 1.",
                    (
                        Query("pointsman_audit_waiting_events", "{{instance}} waiting"),
                        Query("pointsman_audit_intact", "{{instance}} intact"),
                    ),
                    width=6,
                ),
                Panel(
                    "Disk free",
                    "Share of the file system, by what it holds.",
                    (
                        Query(
                            "pointsman_disk_free_bytes / pointsman_disk_size_bytes",
                            "{{instance}} {{holds}}",
                        ),
                    ),
                    unit="percentunit", width=6,
                ),
                Panel(
                    "Flags are stale",
                    "1: their source gives nothing good.",
                    (Query("pointsman_flags_stale", "{{instance}}"),),
                    numbers=True, alarm=1, width=6,
                ),
                Panel(
                    "Shared state answers",
                    "1: yes. Without several replicas there is none.",
                    (Query("pointsman_redis_up", "{{instance}}"),),
                    numbers=True, width=6,
                ),
                Panel(
                    "Leader",
                    "1: this replica leads.",
                    (Query("pointsman_leader", "{{instance}}"),),
                    numbers=True, width=6,
                ),
                Panel(
                    "Replicas",
                    "With the same endpoints and flags, or others.",
                    (Query("max by (configuration) (pointsman_replicas)", "{{configuration}}"),),
                    numbers=True, width=6,
                ),
            ),
        ),
    ),
    chosen=False,
)  # fmt: skip

BOARDS = (RELEASE, ENDPOINTS, INFRASTRUCTURE, DRIFT, GATEWAY)
