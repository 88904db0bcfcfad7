/// What is to be measured.
public struct BenchPlan: Sendable, Equatable {
    /// The transports, in the order in which they are measured.
    public var transports = BenchTransport.allCases

    /// Readers of each measurement.
    public var readers = 100

    /// Events that are published in a second; each rate is a measurement of its own.
    public var rates: [Double] = [1, 10, 100]

    /// Bytes of an event's data.
    public var size = 128

    /// How long is measured.
    public var duration: Duration = .seconds(10)

    /// How long is published before that.
    public var warmUp: Duration = .seconds(2)

    /// From one short poll of a reader to its next.
    public var interval: Duration = .seconds(1)

    /// How long the server may hold a long-poll.
    public var wait: Duration = .seconds(25)

    /// Makes a plan with the defaults.
    public init() {}

    /// The most readers; each has a connection, and over loopback a port of which there are some 28,000.
    public static let readersMax = 20_000

    /// The most rates.
    public static let ratesMax = 16

    /// What a rate may be, in events a second.
    public static let rateRange = 0.1...10_000

    /// What an event's data may be, in bytes. They hold its number at least.
    public static let sizeRange = 16...262_144

    /// How long may be measured.
    public static let durationRange: ClosedRange<Duration> = .seconds(1)...(.seconds(3600))

    /// How long may be published before that.
    public static let warmUpRange: ClosedRange<Duration> = .zero...(.seconds(300))

    /// What a short poll's interval may be: a server may close what is idle for longer.
    public static let intervalRange: ClosedRange<Duration> = .milliseconds(10)...(.seconds(30))

    /// How long a long-poll may be held: no server holds one for longer by its defaults.
    public static let waitRange: ClosedRange<Duration> = .seconds(1)...(.seconds(300))

    /// The most deliveries of one measurement: each has a bit, by which it is known whether it came.
    public static let deliveriesMax = 200_000_000

    /// The most bytes of events that a topic may have to keep for readers that are late.
    public static let keptBytesMax = 256 << 20

    /// What the plan is refused for: names what is wrong and what would do; nil if nothing is.
    public var problem: String? {
        listProblem ?? rangeProblem ?? rateProblem
    }

    private var listProblem: String? {
        if transports.isEmpty { return "--transports names none." }
        if let twice = Self.repeated(transports) { return "--transports has \(twice.rawValue) twice." }
        if rates.isEmpty { return "--rate names none." }
        if rates.count > Self.ratesMax { return "--rate has \(rates.count) rates; there may be \(Self.ratesMax)." }
        if let twice = Self.repeated(rates) { return "--rate has \(twice.brief) twice." }
        return nil
    }

    private var rangeProblem: String? {
        guard (1...Self.readersMax).contains(readers) else {
            return "--readers is \(readers); it may be 1 to \(Self.readersMax)."
        }
        let (slowest, fastest) = (Self.rateRange.lowerBound.brief, Self.rateRange.upperBound.brief)
        if let rate = rates.first(where: { !Self.rateRange.contains($0) }) {
            return "--rate is \(rate.brief); it may be \(slowest) to \(fastest) events a second."
        }
        guard Self.sizeRange.contains(size) else {
            let (least, most) = (Self.sizeRange.lowerBound, Self.sizeRange.upperBound)
            return "--size is \(size); it may be \(least) to \(most) bytes."
        }
        let times = [
            ("--duration", duration, Self.durationRange), ("--warm-up", warmUp, Self.warmUpRange),
            ("--interval", interval, Self.intervalRange), ("--wait", wait, Self.waitRange),
        ]
        for (flag, time, range) in times where !range.contains(time) {
            return "\(flag) is \(time.brief); it may be \(range.lowerBound.brief) to \(range.upperBound.brief)."
        }
        guard wait.components.attoseconds == 0 else { return "--wait is \(wait.brief); it has to be whole seconds." }
        return nil
    }

    private var rateProblem: String? {
        for rate in rates {
            let schedule = Schedule(rate: rate, warmUp: warmUp, duration: duration)
            if schedule.measuredCount < 1 {
                return "--duration is \(duration.brief), too short for an event at \(rate.brief) a second."
            }
            if readers * schedule.count > Self.deliveriesMax {
                return "\(readers) readers at \(rate.brief) events a second for that long are more than "
                    + "\(Self.deliveriesMax) deliveries: lower --readers, --rate or --duration."
            }
        }
        if keptBytes > Self.keptBytesMax {
            return "A topic would have to keep \(keptBytes >> 20) MiB for readers that are late, and "
                + "\(Self.keptBytesMax >> 20) are the most: lower --rate, --size or --interval."
        }
        return nil
    }

    /// The events that a topic has to keep so that a reader that is a while late loses none.
    public var keptEvents: Int {
        let seconds = Self.lateness.inSeconds + (transports.contains(.poll) ? 2 * interval.inSeconds : 0)
        return max(1000, Int(((rates.max() ?? 0) * seconds).rounded(.up)))
    }

    /// The bytes of these events, with what surrounds their data.
    public var keptBytes: Int { keptEvents * eventBytes }

    /// The most bytes of an event with what surrounds its data.
    var eventBytes: Int { size + 1024 }

    /// How late a reader may come on a busy machine.
    private static let lateness: Duration = .seconds(10)

    /// How long is published before anything is measured. Short polls have to have come round once.
    func warmUp(of transport: BenchTransport) -> Duration {
        transport == .poll ? max(warmUp, interval) : warmUp
    }

    /// How long all measurements together take, roughly.
    public var expectedTime: Duration {
        transports.reduce(.zero) { time, transport in
            time + (warmUp(of: transport) + duration + .milliseconds(300)) * rates.count
        }
    }

    private static func repeated<Item: Hashable>(_ items: [Item]) -> Item? {
        var seen: Set<Item> = []
        return items.first { !seen.insert($0).inserted }
    }
}

extension Duration {
    /// The duration in seconds.
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }

    /// The duration for people: `250ms` below a second or with a part of one, else `90s`.
    var brief: String {
        let milliseconds = Int64((inSeconds * 1000).rounded())
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}

extension Double {
    /// The number for people, without a decimal point if it is whole.
    var brief: String { self == rounded() && magnitude < 1e15 ? "\(Int64(self))" : "\(self)" }
}
