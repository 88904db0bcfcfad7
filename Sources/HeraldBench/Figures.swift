import NIOCore

/// The figures of one measurement.
///
/// What is counted is what happened in the measured time. Only `published`, `lost` and `repeated` have the warm-up in
/// them.
public struct Figures: Sendable, Equatable {
    /// What it took until all readers were there.
    struct Opening: Sendable, Equatable {
        /// The time, in seconds.
        var seconds = 0.0

        /// Bytes received by all readers.
        var bytesReceived = 0

        /// Bytes sent by all readers.
        var bytesSent = 0
    }

    /// Times from when an event was due to be published until a reader had it, in milliseconds.
    struct Latency: Sendable, Equatable {
        var p50 = 0.0
        var p90 = 0.0
        var p99 = 0.0
        var max = 0.0

        /// The deliveries that they are of.
        var count = 0
    }

    /// What the readers asked for and got.
    var counts = Counts()

    /// The measured time, in seconds.
    var seconds = 0.0

    /// Of the events that were due in the measured time; nil if none arrived.
    var latency: Latency?

    /// Events that were published.
    var published = 0

    /// Events that a reader did not get, counted for each reader.
    var lost = 0

    /// Events that came again, counted for each reader and time.
    var repeated = 0

    /// The longest time by which an event was sent later than it was due, in milliseconds.
    var latenessMax = 0.0

    /// What it took until all readers were there.
    var opening = Opening()

    /// Seconds of a processor that the server used; nil if it does not export them.
    var processorSeconds: Double?

    /// Seconds of a processor that this process used.
    var clientSeconds = 0.0
}

extension Figures {
    /// What stands in the ledger at the end. Call on the loop.
    init(_ ledger: Ledger, _ counts: Counts, _ opening: Opening) {
        self.counts = counts
        self.opening = opening
        self.latency = Latency(ledger.latencies)
        self.published = ledger.published
        self.lost = ledger.lost
        self.repeated = ledger.repeated
        self.latenessMax = Double(ledger.latenessMax.nanoseconds) / 1e6
    }

    /// Requests for each event that was delivered.
    var requestsPerEvent: Double? { perEvent(Double(counts.requests)) }

    /// Answers without an event, 200 or 304, for each event that was delivered.
    var emptyPerEvent: Double? { perEvent(Double(counts.emptyAnswers + counts.unchangedAnswers)) }

    /// Bytes received for each event that was delivered.
    var bytesReceivedPerEvent: Double? { perEvent(Double(counts.bytesReceived)) }

    /// Bytes sent for each event that was delivered.
    var bytesSentPerEvent: Double? { perEvent(Double(counts.bytesSent)) }

    /// Microseconds of the server's processor for each event that was delivered.
    var processorPerEvent: Double? { processorSeconds.flatMap { perEvent($0 * 1e6) } }

    /// The share of the time in which this process had a processor.
    var clientShare: Double { seconds > 0 ? clientSeconds / seconds : 0 }

    /// Whether the figures are this process's rather than the server's: it had no time left.
    var isSaturated: Bool { clientShare > 0.9 }

    /// Whether events were sent so late that the rate was not what it was to be.
    var isHeldUp: Bool { latenessMax > 100 }

    private func perEvent(_ total: Double) -> Double? {
        counts.deliveries > 0 ? total / Double(counts.deliveries) : nil
    }
}

extension Figures.Latency {
    /// The quantiles of a histogram of nanoseconds; nil if it is empty.
    init?(_ histogram: LatencyHistogram) {
        func milliseconds(_ perMille: UInt64) -> Double? {
            histogram.quantile(perMille: perMille).map { Double($0) / 1e6 }
        }
        guard let p50 = milliseconds(500), let p90 = milliseconds(900), let p99 = milliseconds(990) else { return nil }
        self.init(p50: p50, p90: p90, p99: p99, max: Double(histogram.max) / 1e6, count: Int(histogram.total))
    }
}
