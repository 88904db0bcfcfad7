import NIOCore

/// When the events of a measurement are due.
///
/// Evenly spaced, each half a period behind the beginning of its own: so none is due just where the measured time
/// begins or ends, and a stream delivers exactly what is due in it.
struct Schedule: Sendable, Equatable {
    /// Events a second.
    let rate: Double

    /// The time before the measured time.
    let warmUp: Duration

    /// The measured time.
    let duration: Duration

    /// The number of events, warm-up included.
    var count: Int { Self.count(rate, warmUp + duration) }

    /// The first event that is due in the measured time.
    var firstMeasured: Int { Self.count(rate, warmUp) }

    /// The number of events that are due in the measured time.
    var measuredCount: Int { count - firstMeasured }

    /// When an event is due, from the beginning of the warm-up.
    func due(_ event: Int) -> TimeAmount {
        .nanoseconds(Int64(((Double(event) + 0.5) / rate * 1e9).rounded()))
    }

    /// The events that are due before the end of a time.
    private static func count(_ rate: Double, _ time: Duration) -> Int {
        max(0, Int((rate * time.inSeconds - 0.5).rounded(.up)))
    }
}
