import ArgumentParser
import Foundation
import HeraldClient

/// `herald subscribe`: prints events as they come.
struct SubscribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "subscribe",
        abstract: "Print events as they come.",
        discussion: """
            A filter is a topic in which a segment may be *, which stands for any one segment, or the last may be \
            **, which stands for one or more. Quote filters: shells have a use of their own for the asterisk.

              herald subscribe 'orders/**'
              herald subscribe orders/42/status 'alerts/*' --transport sse --format data
              herald subscribe 'orders/**' --after earliest --max 10
              herald subscribe 'orders/**' --after 5f3a9c1e-42 --transport longpoll

            Each event is one line on standard output, written at once. What is to be known about the stream stands \
            on standard error: gaps, when events may be missing; resumes; and reconnects, which happen by themselves. \
            On Ctrl-C the command ends with 0 and says from which cursor to go on.

            Formats: json is the whole event as the server sent it; data is the data alone, byte for byte; pretty is \
            a line for people: time, topic, id, type and data.
            """)

    /// The ways to get events, by the names that the command line has for them.
    enum TransportName: String, ExpressibleByArgument, CaseIterable {
        case auto, ws, sse, ndjson, longpoll, poll
    }

    /// The ways to print an event.
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case json, data, pretty
    }

    @OptionGroup var options: ServerOptions

    @Option(name: .long, help: "How to get events; auto: by the first of ws, sse, longpoll and poll that works.")
    var transport = TransportName.auto

    @Option(
        name: .long,
        help: ArgumentHelp("Where to start: earliest, latest, or after the event of this id.", valueName: "cursor"),
        transform: { text in
            guard let position = Position(text) else {
                throw ValidationError("\"\(text)\" is neither earliest nor latest nor an id such as 5f3a9c1e-42.")
            }
            return position
        })
    var after = Position.latest

    @Option(name: .long, help: ArgumentHelp("End after this many events.", valueName: "events"))
    var max: Int?

    @Option(name: .long, help: "How to print an event.")
    var format = Format.json

    @Option(
        name: .long, help: ArgumentHelp("The time between polls, e.g. 500ms, 5s, 1m. (default: 5s)", valueName: "time"),
        transform: Self.duration)
    var interval = Duration.seconds(5)

    @Option(
        name: .long,
        help: ArgumentHelp("How long the server may hold a long-poll, e.g. 30s. (default: 30s)", valueName: "time"),
        transform: Self.duration)
    var wait = Duration.seconds(30)

    @Argument(help: "The filters; an event that matches several comes once.")
    var filters: [String]

    func validate() throws {
        if let max, max < 1 { throw ValidationError("--max must be at least 1.") }
        guard interval >= .milliseconds(10) else { throw ValidationError("--interval must be at least 10ms.") }
        guard wait >= .seconds(1) else { throw ValidationError("--wait must be at least 1s.") }
    }

    func run() async throws {
        try await options.withClient { configuration in
            configuration.fallback.longPollWait = wait
            configuration.fallback.shortPollInterval = interval
        } _: { client in
            let subscription = client.subscribe(filters, after: after, transport: chosenTransport).deliveries
            let (format, max) = (format, max)
            let reading = Task { try await Self.read(subscription, format, max) }
            let interruption = Interruption { reading.cancel() }
            defer { withExtendedLifetime(interruption) {} }
            try await reading.value
        }
    }

    private var chosenTransport: Transport {
        switch transport {
        case .auto: .automatic
        case .ws: .webSocket
        case .sse: .serverSentEvents
        case .ndjson: .ndjson
        case .longpoll: .longPoll(wait: wait)
        case .poll: .shortPoll(interval: interval)
        }
    }

    private static func read(_ subscription: Deliveries, _ format: Format, _ max: Int?) async throws {
        var reader = subscription.makeAsyncIterator()
        var notices = Notices()
        var count = 0
        do {
            while count < max ?? .max, let delivery = try await reader.next() {
                if case .event(let event) = delivery {
                    try Terminal.print(line(for: event, format))
                    count += 1
                } else if let notice = notices.text(for: delivery) {
                    Terminal.report(notice)
                }
            }
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
        if case .after(let cursor) = reader.position { Terminal.report("Stopped; go on with --after \(cursor).") }
    }

    private static func line(for event: Event, _ format: Format) -> [UInt8] {
        switch format {
        case .json: return event.json
        case .data: return event.data
        case .pretty:
            let fields = [event.time, event.topic, event.id.description, event.type ?? "-", text(of: event)]
            return Array(fields.joined(separator: "  ").utf8)
        }
    }

    /// The data for people: what a terminal would act upon is escaped.
    private static func text(of event: Event) -> String {
        switch event.payload {
        case .binary(let bytes): return "<\(bytes.count) bytes of \(event.contentType)>"
        case .text(let text): return escaped(text)
        case .json(let bytes): return escaped(String(decoding: bytes, as: UTF8.self))
        }
    }

    private static func escaped(_ text: String) -> String {
        var plain = ""
        for scalar in text.unicodeScalars {
            if scalar.properties.generalCategory == .control {
                plain += scalar.escaped(asASCII: true)
            } else {
                plain.unicodeScalars.append(scalar)
            }
        }
        return plain
    }

    /// Reads `250ms`, `10s`, `5m` or `1h`.
    private static func duration(_ text: String) throws -> Duration {
        let units: [(String, Int64)] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
        for (unit, milliseconds) in units where text.hasSuffix(unit) {
            guard let number = Int64(text.dropLast(unit.count)), (0...1_000_000).contains(number) else { continue }
            return .milliseconds(number * milliseconds)
        }
        throw ValidationError("\"\(text)\" is not a time such as 250ms, 10s, 5m or 1h.")
    }
}

/// Finds the words for what happens around the events.
private struct Notices {
    private var isReconnecting = false
    private var transport: TransportKind?

    mutating func text(for delivery: Delivery) -> String? {
        switch delivery {
        case .event:
            return nil
        case .gap(let gap):
            return "Gap: events of \(gap.topic) from \(gap.from) to \(gap.to) may be missing (\(gap.reason))."
        case .reset(let gap):
            return "Reset: the server counts anew; what came after \(gap.from) may be missing (\(gap.reason))."
        case .resumed(let cursor):
            return "Resumed after \(cursor); nothing is missing."
        case .state(.connected(let transport)):
            defer { (isReconnecting, self.transport) = (false, transport) }
            if let former = self.transport, former != transport { return "Connected by \(transport) now." }
            return isReconnecting ? "Connected again." : nil
        case .state(.changing(let transport, let reason)):
            return "\(reason) Trying \(transport)."
        case .state(.waiting(let delay, let reason)):
            isReconnecting = true
            let seconds = delay.formatted(.units(allowed: [.seconds, .milliseconds], width: .narrow))
            return "\(reason) Trying again in \(seconds)."
        }
    }
}
