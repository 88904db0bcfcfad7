import HeraldCore

/// A scrape in Prometheus's text format, version 0.0.4.
struct MetricsText {
    /// The content type of the text.
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Seconds since 1970; nil without TLS.
    let certificateExpiry: Int64?
    let hub: HubStatistics
    let log: LogStatistics
    let refusals: [Problem.Kind: UInt64]
    var access = AccessCounts()
    let loops: Int
    let version: String
    let uptime: Duration
    var processorTime: Duration = .zero

    /// The whole text.
    var rendered: [UInt8] {
        var text = MetricsWriter()
        appendServer(to: &text)
        appendConnections(to: &text)
        appendTLS(to: &text)
        appendHTTP2(to: &text)
        appendRequests(to: &text)
        appendPublishing(to: &text)
        appendReaders(to: &text)
        appendDeliveries(to: &text)
        appendLosses(to: &text)
        appendLog(to: &text)
        appendAccess(to: &text)
        return text.bytes
    }

    private func appendServer(to text: inout MetricsWriter) {
        text.family("herald_build_info", .gauge, "The version that is running; always 1.")
        text.sample(["version": version], 1)
        text.family("herald_uptime_seconds", .gauge, "Seconds since the server started.")
        text.sample([:], uptime.inSeconds)
        // Prometheus' own name for it: what is drawn from other programs' metrics is drawn from these, too.
        text.family(
            "process_cpu_seconds_total", .counter, "Processor time that the server has used, user and system together.")
        text.sample([:], processorTime.inSeconds)
        text.family("herald_loops", .gauge, "Event loops, each a thread.")
        text.sample([:], loops)
        text.family("herald_loop_lag_seconds", .histogram, "How late the timers of the event loops came.")
        text.histogram([:], hub.lag)
    }

    private func appendConnections(to text: inout MetricsWriter) {
        text.family("herald_connections", .gauge, "Connections that are open.")
        text.sample([:], hub.connections)
        text.family("herald_connections_accepted_total", .counter, "Connections that were accepted.")
        text.sample([:], hub.accepted)
        text.family("herald_connections_closed_total", .counter, "Connections that ended, by why they did.")
        text.samples("reason", HubStatistics.closeReasonNames, hub.closed)
        text.family("herald_protocol_connections", .gauge, "Connections that are open, by what they speak.")
        for (each, count) in zip(HubStatistics.protocolNames, hub.protocols) {
            text.sample(["protocol": each.name, "tls": each.isSecure ? "true" : "false"], count)
        }
        text.family("herald_accept_failures_total", .counter, "Connections that could not be accepted, by why not.")
        text.samples("reason", HubStatistics.acceptFailureNames, hub.acceptFailures)
    }

    private func appendTLS(to text: inout MetricsWriter) {
        text.family(
            "herald_tls_handshakes_total", .counter,
            "TLS handshakes that are over, by the version agreed on and by what became of them.")
        for (version, outcomes) in zip(HubStatistics.tlsVersionNames, hub.handshakes) {
            for (outcome, count) in zip(HubStatistics.tlsOutcomeNames, outcomes)
            where (outcome == "completed") == (version != "none") {
                text.sample(["version": version, "outcome": outcome], count)
            }
        }
        text.family(
            "herald_tls_handshakes_resumed_total", .counter,
            "TLS handshakes that took up an earlier session, by version; they are among the completed.")
        for (version, count) in zip(HubStatistics.tlsVersionNames, hub.handshakesResumed).dropFirst() {
            text.sample(["version": version], count)
        }
        if let certificateExpiry {
            text.family(
                "herald_tls_certificate_expiry_timestamp_seconds", .gauge,
                "When the first of the certificates in use ends, in seconds since 1970; only with TLS.")
            text.sample([:], UInt64(clamping: certificateExpiry))
        }
    }

    private func appendHTTP2(to text: inout MetricsWriter) {
        text.family("herald_http2_streams", .gauge, "Streams of HTTP/2 that are open.")
        text.sample([:], hub.http2Streams)
        text.family("herald_http2_streams_opened_total", .counter, "Streams of HTTP/2 that were opened.")
        text.sample([:], hub.http2StreamsOpened)
        text.family(
            "herald_http2_streams_refused_total", .counter, "Streams of HTTP/2 that were refused by a limit or a drain."
        )
        text.sample([:], hub.http2StreamsRefused)
        text.family("herald_http2_streams_reset_total", .counter, "Streams of HTTP/2 that clients reset.")
        text.sample([:], hub.http2StreamsReset)
        text.family(
            "herald_http2_floods_total", .counter,
            "Connections of HTTP/2 that were cut because the client sent too many frames that only make work.")
        text.sample([:], hub.http2Floods)
    }

    private func appendRequests(to text: inout MetricsWriter) {
        text.family("herald_http_requests_total", .counter, "Answers to HTTP requests, by class of status code.")
        text.samples("code", ["1xx", "2xx", "3xx", "4xx", "5xx"], hub.answers)
        text.family(
            "herald_http_rejected_total", .counter,
            "Requests that were refused before they were complete, by what was wrong.")
        text.samples("reason", HubStatistics.faultNames + ["timeout"], hub.faults + [hub.requestTimeouts])
        text.family(
            "herald_refused_total", .counter,
            "Connections, streams and readers that were refused: their address has too many, or too many begin at once."
        )
        text.samples("reason", ["address", "handshake_rate"], [hub.addressRefusals, hub.busyRefusals])
        text.family("herald_held_requests", .gauge, "Long-polls that are held.")
        text.sample([:], hub.heldRequests)
        text.family(
            "herald_websocket_messages_received_total", .counter, "Messages that WebSocket clients sent.")
        text.sample([:], hub.webSocketMessages)
        text.family("herald_websocket_closes_total", .counter, "Close frames that were sent, by code.")
        text.samples("code", HubStatistics.webSocketCloseCodes.map(String.init), hub.webSocketCloses)
    }

    private func appendPublishing(to text: inout MetricsWriter) {
        text.family("herald_events_published_total", .counter, "Events that were published.")
        text.sample([:], hub.publishedEvents)
        text.family("herald_published_bytes_total", .counter, "Bytes of the data of events that were published.")
        text.sample([:], hub.publishedBytes)
        text.family("herald_publish_refused_total", .counter, "Requests to publish that were refused, by why.")
        for kind in Self.refusalKinds {
            text.sample(["reason": kind.label], refusals[kind] ?? 0)
        }
    }

    /// Why publishes can be refused; the series are there before it happens.
    static let refusalKinds: [Problem.Kind] = [
        .badTopic, .badParameter, .badHeader, .badJSON, .badEvent, .unsupportedMediaType, .bodyTooLarge,
        .idempotencyConflict, .tooManyTopics, .memoryLimit, .forbiddenOrigin, .rateLimited,
        .unauthorized, .invalidToken, .expiredToken, .revokedToken, .forbidden, .keysUnavailable, .overloaded,
    ]

    private func appendReaders(to text: inout MetricsWriter) {
        text.family("herald_readers", .gauge, "Readers, by transport and state.")
        eachTransport { transport, counts in
            text.samples(
                "state", TransportStatistics.stateNames, counts.readers, and: ["transport": transport.label])
        }
        counter("herald_readers_opened_total", "Readers that began.", \.readersOpened, to: &text)
        text.family("herald_subscriptions", .gauge, "Filters of readers, by transport.")
        eachTransport { transport, counts in
            text.sample(["transport": transport.label], counts.subscriptions)
        }
        text.family(
            "herald_polls_answered_total", .counter, "Polls that were answered, by transport and outcome.")
        eachTransport { transport, counts in
            text.samples(
                "outcome", TransportStatistics.pollOutcomeNames, counts.polls, and: ["transport": transport.label])
        }
        counter("herald_heartbeats_total", "Heartbeats that were sent.", \.heartbeats, to: &text)
    }

    private func appendDeliveries(to text: inout MetricsWriter) {
        counter("herald_deliveries_total", "Events that were sent to readers.", \.deliveries, to: &text)
        counter(
            "herald_delivered_payload_bytes_total",
            "Bytes of the data of events that were sent to readers, before compression.", \.payloadBytes, to: &text)
        counter(
            "herald_delivered_overhead_bytes_total",
            "Bytes besides data that were sent to deliver events, before compression.", \.overheadBytes, to: &text)
        counter(
            "herald_compression_input_bytes_total",
            "Bytes of deliveries to readers with compression, as they would be without.", \.compressionInputBytes,
            to: &text)
        counter(
            "herald_compression_output_bytes_total",
            "Bytes of deliveries to readers with compression, as they were sent.", \.compressionOutputBytes, to: &text)
        text.family(
            "herald_delivery_latency_seconds", .histogram,
            "Time from the loop's turn that published an event to writing it.")
        eachTransport { transport, counts in
            text.histogram(["transport": transport.label], counts.latency)
        }
    }

    private func appendLosses(to text: inout MetricsWriter) {
        counter("herald_stalls_total", "Times that a reader's socket took no more.", \.stalls, to: &text)
        text.family("herald_gaps_total", .counter, "Gaps that readers were told of, by transport and reason.")
        eachTransport { transport, counts in
            text.samples(
                "reason", TransportStatistics.gapReasonNames, counts.gaps, and: ["transport": transport.label])
        }
        counter(
            "herald_events_missed_total", "Events that gaps covered; an upper bound of what readers missed.",
            \.missed, to: &text)
        text.family(
            "herald_resumes_total", .counter, "Readers that came with a cursor, by transport and what became of it.")
        eachTransport { transport, counts in
            text.samples(
                "outcome", TransportStatistics.resumeOutcomeNames, counts.resumes,
                and: ["transport": transport.label])
        }
    }

    private func appendLog(to text: inout MetricsWriter) {
        text.family("herald_topics", .gauge, "Topics.")
        text.sample([:], log.topics)
        text.family("herald_retained_events", .gauge, "Events that are kept for replay.")
        text.sample([:], log.retainedEvents)
        text.family("herald_retained_bytes", .gauge, "Bytes of events that are kept for replay.")
        text.sample([:], log.retainedBytes)
        text.family(
            "herald_events_evicted_total", .counter, "Events that are no longer kept, by the bound they fell to.")
        let evicted = log.evicted
        text.samples(
            "reason", ["count", "bytes", "age", "memory", "purge"],
            [evicted.count, evicted.bytes, evicted.age, evicted.memory, evicted.purge])
        text.family("herald_filters", .gauge, "Distinct filters that have readers.")
        text.sample([:], log.filters)
    }

    private func counter(
        _ name: String, _ help: String, _ value: KeyPath<TransportStatistics, UInt64>, to text: inout MetricsWriter
    ) {
        text.family(name, .counter, help)
        eachTransport { transport, counts in
            text.sample(["transport": transport.label], counts[keyPath: value])
        }
    }

    private func eachTransport(_ body: (Transport, TransportStatistics) -> Void) {
        for transport in Transport.allCases {
            body(transport, hub.transports[transport] ?? TransportStatistics())
        }
    }
}

/// Writes families of metrics and their samples.
struct MetricsWriter {
    /// The types of metrics.
    enum Kind: String {
        case counter, gauge, histogram
    }

    /// What was written.
    private(set) var bytes: [UInt8] = []
    private var name = ""

    /// Begins a family; its samples come next.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        self.name = name
        append("# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n")
    }

    /// Adds a sample of the family.
    mutating func sample(_ labels: KeyValuePairs<String, String>, _ value: some Numeric & CustomStringConvertible) {
        append("\(name)\(Self.text(Array(labels)) ) \(value)\n")
    }

    /// Adds a sample for each value of a label, with other labels in front.
    mutating func samples(
        _ label: String, _ names: [String], _ values: [UInt64], and others: KeyValuePairs<String, String> = [:]
    ) {
        for (labelValue, value) in zip(names, values) {
            append("\(name)\(Self.text(Array(others) + [(label, labelValue)])) \(value)\n")
        }
    }

    /// Adds a histogram's buckets, cumulative as the format has them, its sum and its count.
    mutating func histogram(_ labels: KeyValuePairs<String, String>, _ histogram: Histogram) {
        let bounds = Histogram.boundsNanoseconds.map { String(Double($0) / 1e9) } + ["+Inf"]
        var count: UInt64 = 0
        for (bound, bucket) in zip(bounds, histogram.buckets) {
            count += bucket
            append("\(name)_bucket\(Self.text(Array(labels) + [("le", bound)])) \(count)\n")
        }
        let labels = Self.text(Array(labels))
        append("\(name)_sum\(labels) \(Double(histogram.sumNanoseconds) / 1e9)\n")
        append("\(name)_count\(labels) \(count)\n")
    }

    private mutating func append(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    private static func text(_ labels: [(key: String, value: String)]) -> String {
        guard !labels.isEmpty else { return "" }
        // Backslash, quote and line feed are what the format escapes, in the same way as JSON does.
        let pairs = labels.map { "\($0.key)=\(EscapedText.quoted($0.value))" }
        return "{\(pairs.joined(separator: ","))}"
    }
}

extension Duration {
    /// The duration in seconds.
    var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
