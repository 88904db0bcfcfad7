import HeraldCore

/// How a request to read events asks for it, before its parts are held against each other.
struct SubscribeInput: Sendable, Equatable {
    /// Whether the path holds a filter.
    var hasPathFilter = false
    /// What the query asks for.
    var query = SubscribeQuery()
    /// The `Last-Event-ID` header; nil when there is none, or nothing in it.
    var lastEventID: Position?
    /// The `Prefer` header.
    var prefer: String?
    /// The `Accept` header.
    var accept: String?
    /// Whether it is a WebSocket handshake.
    var wantsWebSocket = false
    /// Whether it is a HEAD request.
    var isHead = false
}

/// What the query of a request to read events asks for.
///
/// This is read for every poll: parameters are looked at where they lie, and only filters become texts.
struct SubscribeQuery: Sendable, Equatable {
    /// Where to begin.
    private(set) var after: Position?
    /// The seconds that a poll may be held.
    private(set) var wait: Int?
    /// The number of events in one answer.
    private(set) var max: Int?
    /// Whether a stream gets the data of events alone.
    private(set) var isRaw = false
    /// Filters.
    private(set) var topics: [String] = []
    private var hasToken = false

    /// Takes a pair of the query; throws what is wrong with it. `longest`: the most seconds of a wait.
    mutating func take(_ name: borrowing Bytes, _ value: borrowing Bytes, longest: Int) throws(Problem) {
        if name == "after" {
            try Self.refuse(name, ifGiven: after != nil)
            after = try SubscribeParameters.position(value, named: "after")
        } else if name == "wait" {
            try Self.refuse(name, ifGiven: wait != nil)
            wait = try Parameters.number(value, of: "wait", in: 0...longest, unit: " of seconds")
        } else if name == "max" {
            try Self.refuse(name, ifGiven: max != nil)
            max = try Parameters.number(value, of: "max", in: SubscribeParameters.limitBounds, unit: " of events")
        } else if name == "topic" {
            topics.append(value.text())
        } else if name == "format" {
            try Self.refuse(name, ifGiven: isRaw)
            guard value == "raw" else {
                throw Problem(
                    .badParameter, "format must be raw, not \(EscapedText.quoted(value.text(), limit: 40))")
            }
            isRaw = true
        } else if name == Parameters.token {
            try Self.refuse(name, ifGiven: hasToken)
            hasToken = true
        } else {
            throw Parameters.unknown(name.text(), among: ["after", "wait", "max", "format", "topic"])
        }
    }

    private static func refuse(_ name: borrowing Bytes, ifGiven isGiven: Bool) throws(Problem) {
        if isGiven { throw Parameters.repeated(name.text()) }
    }
}

/// Makes a subscription of a request to read events. Pure: the same input gives the same subscription or problem.
struct SubscribeParameters: Sendable {
    /// The bounds.
    let limits: Service.Limits

    /// The number of events in one answer.
    static let limitBounds = 1...1000

    /// The events in one answer, unless asked otherwise.
    static let standardLimit = 100

    /// The subscription that is asked for; throws the first thing that is wrong with it.
    func subscription(_ input: SubscribeInput) throws(Problem) -> Subscription {
        let wait = input.query.wait ?? min(Self.preferredWait(input.prefer) ?? 0, limits.waitSeconds)
        let transport = Self.transport(input, wait: wait)
        let isStream = transport != .longPoll && transport != .shortPoll
        let filters = try filters(input, for: transport)
        // Browsers send no empty Last-Event-ID, but some clients do before their first event.
        let position = input.lastEventID ?? input.query.after ?? (isStream ? .latest : .earliest)
        var subscription = Subscription(transport, filters: filters, position: position)
        subscription.isRaw = input.query.isRaw
        guard transport == .webSocket || transport == .serverSentEvents || !input.query.isRaw else {
            throw Problem(
                .badParameter,
                "format=raw is for WebSockets and Server-Sent Events; \(transport == .ndjson ? "NDJSON" : "a poll") "
                    + "is always JSON")
        }
        if isStream, let name = input.query.wait != nil ? "wait" : input.query.max != nil ? "max" : nil {
            throw Problem(.badParameter, "\(name) is for polls; a stream goes on until it is closed")
        }
        subscription.limit = UInt32(input.query.max ?? Self.standardLimit)
        if transport == .longPoll { subscription.waitMilliseconds = UInt32(clamping: wait * 1000) }
        return subscription
    }

    // MARK: Transport

    private static func transport(_ input: SubscribeInput, wait: Int) -> Transport {
        // HEAD asks how things stand; nothing is held or streamed for it.
        if input.isHead { return .shortPoll }
        if input.wantsWebSocket { return .webSocket }
        if let stream = acceptedStream(input.accept) { return stream }
        return wait > 0 ? .longPoll : .shortPoll
    }

    /// The stream that an `Accept` header names (RFC 9110 §12.5.1): of several that of the highest weight, and the
    /// first of these. A range such as `*/*` names none.
    static func acceptedStream(_ accept: String?) -> Transport? {
        // Most accept anything, and are not looked at further.
        guard let accept, accept.utf8.count >= "text/event-stream".utf8.count else { return nil }
        var best: (transport: Transport, weight: Double)?
        for element in HeaderText.list(accept) {
            let parts = element.split(separator: ";").map(HeaderText.trimmed)
            let transport: Transport
            switch parts.first?.lowercased() {
            case "text/event-stream": transport = .serverSentEvents
            case "application/x-ndjson": transport = .ndjson
            default: continue
            }
            // A weight of zero means "not that" (RFC 9110 §12.4.2).
            let weight = parts.dropFirst().lazy.compactMap(weight).first ?? 1
            if weight > best?.weight ?? 0 { best = (transport, weight) }
        }
        return best?.transport
    }

    /// The weight in a parameter such as `q=0.8`; nil when it is another, or none that can be read.
    private static func weight(_ parameter: String) -> Double? {
        guard parameter.lowercased().hasPrefix("q=") else { return nil }
        return Double(HeaderText.trimmed(parameter.dropFirst(2)))
    }

    // MARK: Parameters

    /// The seconds in a `Prefer` header's `wait` (RFC 7240 §4.3); what cannot be used is passed over, as that is only
    /// a preference.
    static func preferredWait(_ prefer: String?) -> Int? {
        guard let prefer else { return nil }
        for element in HeaderText.list(prefer) {
            let preference = element.split(separator: ";", maxSplits: 1).first ?? ""
            let halves = preference.split(separator: "=", maxSplits: 1).map(HeaderText.trimmed)
            guard halves.count == 2, halves[0].lowercased() == "wait" else { continue }
            return Quantities.count(halves[1].filter { $0 != "\"" })
        }
        return nil
    }

    /// The filters besides that of the path, without repeats.
    private func filters(_ input: SubscribeInput, for transport: Transport) throws(Problem) -> [FilterName] {
        let pathCount = input.hasPathFilter ? 1 : 0
        var filters: [FilterName] = []
        for text in input.query.topics {
            let filter: FilterName
            do throws(NameFault) { filter = try FilterName(text) } catch { throw Problem(.badFilter, error, in: text) }
            if !filters.contains(filter) { filters.append(filter) }
            guard pathCount + filters.count <= limits.filters else {
                var problem = Problem(.tooManyFilters, "a connection has at most \(limits.filters) filters")
                problem.limit = limits.filters
                throw problem
            }
        }
        guard pathCount + filters.count > 0 || transport == .webSocket else {
            throw Problem(.badFilter, "there is no filter; it is the rest of the path, or ?topic=")
        }
        return filters
    }

    /// Reads a cursor; `name` says where it was given.
    static func position(_ text: borrowing Bytes, named name: String) throws(Problem) -> Position {
        if let position = Position(text) { return position }
        throw Problem(
            .badCursor,
            "\(name) must be an event id, earliest or latest, not \(EscapedText.quoted(text.text(), limit: 40))")
    }
}

/// Values of headers that are lists.
enum HeaderText {
    /// The elements of a comma-separated list, without the white space around them. Quoted commas are not known.
    static func list(_ text: String) -> [String] {
        text.split(separator: ",").map(trimmed)
    }

    /// A text without the spaces and tabs at either end.
    static func trimmed(_ text: some StringProtocol) -> String {
        let start = text.drop { $0 == " " || $0 == "\t" }
        let end = start.lastIndex { $0 != " " && $0 != "\t" }
        return end.map { String(start[...$0]) } ?? ""
    }
}
