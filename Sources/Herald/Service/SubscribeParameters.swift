import HeraldCore

/// How a request to read events asks for it, before any of it is checked.
struct SubscribeInput: Sendable, Equatable {
    /// The filter in the path; nil when the path has none.
    var filter: String?
    /// The query's pairs.
    var query: [QueryPair] = []
    /// The `Last-Event-ID` header.
    var lastEventID: String?
    /// The `Prefer` header.
    var prefer: String?
    /// The `Accept` header.
    var accept: String?
    /// Whether it is a WebSocket handshake.
    var wantsWebSocket = false
    /// Whether it is a HEAD request.
    var isHead = false
}

/// Makes a subscription of a request to read events. Pure: the same input gives the same subscription or problem.
struct SubscribeParameters: Sendable {
    /// The bounds.
    let limits: Service.Limits

    /// The number of events in one answer.
    static let limitBounds = 1...1000

    /// The events in one answer, unless asked otherwise.
    static let standardLimit = 100

    private static let known = ["after", "wait", "max", "format"]

    /// The subscription that is asked for; throws the first thing that is wrong with it.
    func subscription(_ input: SubscribeInput) throws(Problem) -> Subscription {
        let parameters = try Parameters(input.query, known: Self.known, repeatable: ["topic"])
        let wait = try wait(parameters, prefer: input.prefer)
        let transport = Self.transport(input, wait: wait)
        let filters = try filters(input.filter, parameters.values("topic"), for: transport)
        let position = try position(header: input.lastEventID, parameter: parameters["after"], for: transport)
        var subscription = Subscription(transport, filters: filters, position: position)
        subscription.isRaw = try isRaw(parameters, for: transport)
        let limit = try parameters.number("max", in: Self.limitBounds, unit: " of events")
        try refuse(["wait", "max"], of: parameters, forStream: transport)
        subscription.limit = UInt32(limit ?? Self.standardLimit)
        if transport == .longPoll { subscription.waitMilliseconds = UInt32(clamping: wait * 1000) }
        return subscription
    }

    // MARK: Transport

    private static func transport(_ input: SubscribeInput, wait: Int) -> Transport {
        // HEAD asks how things stand; nothing is held or streamed for it.
        if input.isHead { return .shortPoll }
        if input.wantsWebSocket { return .webSocket }
        if acceptsEventStream(input.accept) { return .serverSentEvents }
        return wait > 0 ? .longPoll : .shortPoll
    }

    /// Whether an `Accept` header names `text/event-stream` (RFC 9110 §12.5.1); a range such as `*/*` does not.
    static func acceptsEventStream(_ accept: String?) -> Bool {
        guard let accept else { return false }
        return HeaderText.list(accept).contains { element in
            let parts = element.split(separator: ";").map(HeaderText.trimmed)
            guard parts.first?.lowercased() == "text/event-stream" else { return false }
            // A quality of zero means "not that" (RFC 9110 §12.4.2).
            return !parts.dropFirst().contains { part in
                let weight = part.lowercased()
                return weight.hasPrefix("q=0") && weight.dropFirst(3).allSatisfy { $0 == "0" || $0 == "." }
            }
        }
    }

    // MARK: Parameters

    /// The seconds that a poll may be held: `wait`, else what is preferred, cut to the bound.
    private func wait(_ parameters: Parameters, prefer: String?) throws(Problem) -> Int {
        if let wait = try parameters.number("wait", in: 0...limits.waitSeconds, unit: " of seconds") { return wait }
        return min(Self.preferredWait(prefer) ?? 0, limits.waitSeconds)
    }

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

    private func filters(
        _ first: String?, _ others: [String], for transport: Transport
    ) throws(Problem) -> [FilterName] {
        var filters: [FilterName] = []
        var seen: Set<FilterName> = []
        for text in (first.map { [$0] } ?? []) + others {
            let filter: FilterName
            do throws(NameFault) { filter = try FilterName(text) } catch { throw Problem(.badFilter, error, in: text) }
            if seen.insert(filter).inserted { filters.append(filter) }
        }
        guard !filters.isEmpty || transport == .webSocket else {
            throw Problem(.badFilter, "there is no filter; it is the rest of the path, or ?topic=")
        }
        guard filters.count <= limits.filters else {
            var problem = Problem(.tooManyFilters, "a connection has at most \(limits.filters) filters")
            problem.limit = limits.filters
            throw problem
        }
        return filters
    }

    private func position(
        header: String?, parameter: String?, for transport: Transport
    ) throws(Problem) -> Position {
        // Browsers send no empty Last-Event-ID, but some clients do before their first event.
        let header = header.flatMap { $0.isEmpty ? nil : $0 }
        guard let text = header ?? parameter else {
            return transport == .webSocket || transport == .serverSentEvents ? .latest : .earliest
        }
        return try Self.position(text, named: header == nil ? "after" : "Last-Event-ID")
    }

    /// Reads a cursor; `name` says where it was given.
    static func position(_ text: String, named name: String) throws(Problem) -> Position {
        if let position = Position(text) { return position }
        throw Problem(
            .badCursor,
            "\(name) must be an event id, earliest or latest, not \(EscapedText.quoted(text, limit: 40))")
    }

    private func isRaw(_ parameters: Parameters, for transport: Transport) throws(Problem) -> Bool {
        guard let format = parameters["format"] else { return false }
        guard format == "raw" else {
            throw Problem(.badParameter, "format must be raw, not \(EscapedText.quoted(format, limit: 40))")
        }
        guard transport == .webSocket || transport == .serverSentEvents else {
            throw Problem(.badParameter, "format=raw is for WebSockets and Server-Sent Events; a poll is always JSON")
        }
        return true
    }

    private func refuse(
        _ names: [String], of parameters: Parameters, forStream transport: Transport
    ) throws(Problem) {
        guard transport == .webSocket || transport == .serverSentEvents else { return }
        for name in names where parameters[name] != nil {
            throw Problem(.badParameter, "\(name) is for polls; a stream goes on until it is closed")
        }
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
