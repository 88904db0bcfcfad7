import HeraldCore

// One file maps everything that can be wrong to its answer: RFC 9457 problem details for HTTP, an error message for
// WebSocket commands. Types are stable and tell mistakes apart; details name what was wrong.

/// What is wrong with a request, as it is told to the client.
struct Problem: Error, Sendable, Equatable {
    /// The kinds of problems; raw values are the last part of `type`.
    enum Kind: String, Sendable, CaseIterable {
        case badRequest = "bad-request"
        case badTopic = "bad-topic"
        case badFilter = "bad-filter"
        case badCursor = "bad-cursor"
        case badParameter = "bad-parameter"
        case badHeader = "bad-header"
        case badJSON = "bad-json"
        case badEvent = "bad-event"
        case badHandshake = "bad-handshake"
        case unsupportedMediaType = "unsupported-media-type"
        case forbiddenOrigin = "forbidden-origin"
        case notFound = "not-found"
        case methodNotAllowed = "method-not-allowed"
        case bodyTooLarge = "body-too-large"
        case upgradeRequired = "upgrade-required"
        case idempotencyConflict = "idempotency-conflict"
        case tooManyFilters = "too-many-filters"
        case tooManyTopics = "too-many-topics"
        case memoryLimit = "memory-limit"
        case draining = "draining"
        case unauthorized = "unauthorized"
        case invalidToken = "invalid-token"
        case expiredToken = "expired-token"
        case revokedToken = "revoked-token"
        case forbidden = "forbidden"
        case badRevocation = "bad-revocation"
        case keysUnavailable = "keys-unavailable"
        case notImplemented = "not-implemented"
        case internalError = "internal"
        case tooManyConnections = "too-many-connections"
        case rateLimited = "rate-limited"
        case overloaded = "overloaded"
    }

    /// The kind.
    let kind: Kind
    /// What was wrong, for people.
    let detail: String
    /// The status code, if it is not the kind's.
    var otherStatus: Int?
    /// The line of the body, from 1.
    var line: Int?
    /// The column in bytes, from 1.
    var column: Int?
    /// The item of a list, from 0.
    var index: Int?
    /// The bound that was passed.
    var limit: Int?
    /// When to come back, in seconds, if that is known; else the core says a time of its own with 429 and 503.
    var retryAfter: Int?
    /// What the `Allow` header says; none: there is no such header.
    var allowed: [RequestMethod] = []
    /// What the `WWW-Authenticate` header says; nil: there is no such header.
    var challenge: Challenge?

    init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }

    /// The problem type: a reference relative to the server.
    var type: String { "/problems/\(kind.rawValue)" }

    /// The status code.
    var status: Int { otherStatus ?? kind.status }

    /// There is more to check than there may be at a time.
    static var tooManyChecks: Problem {
        Problem(.overloaded, "there are as many tokens to check as token-checks allows at a time")
    }

    private var json: [UInt8] {
        var json = JSONWriter()
        json.open()
        json.member("type", type)
        json.member("title", kind.title)
        json.member("status", status)
        json.member("detail", detail)
        for (name, number) in [("line", line), ("column", column), ("index", index), ("limit", limit)] {
            if let number { json.member(name, number) }
        }
        json.close()
        return json.bytes
    }

    /// The members of the problem's JSON, without braces.
    var members: [UInt8] { Array(json.dropFirst().dropLast()) }

    /// The problem as an answer to an HTTP request.
    var response: Response {
        var response = Response.text(status, json, contentType: "application/problem+json")
        if !allowed.isEmpty { response.add("Allow", RequestMethod.list(allowed)) }
        if let retryAfter { response.add("Retry-After", String(retryAfter)) }
        if let challenge { response.add("WWW-Authenticate", challenge.rawValue) }
        if kind == .upgradeRequired {
            response.add("Upgrade", "websocket")
            response.add("Sec-WebSocket-Version", "13")
        }
        return response
    }
}

extension Problem.Kind {
    /// The status code.
    var status: Int {
        switch self {
        case .badRequest, .badTopic, .badFilter, .badCursor, .badParameter, .badHeader, .badHandshake: 400
        case .unauthorized, .invalidToken, .expiredToken, .revokedToken: 401
        case .forbidden, .forbiddenOrigin: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .bodyTooLarge: 413
        case .unsupportedMediaType: 415
        case .badJSON, .badEvent, .badRevocation, .idempotencyConflict: 422
        case .upgradeRequired: 426
        case .tooManyFilters, .tooManyConnections, .rateLimited: 429
        case .internalError: 500
        case .notImplemented: 501
        case .tooManyTopics, .memoryLimit, .draining, .keysUnavailable, .overloaded: 503
        }
    }

    /// A phrase that is the same for all problems of the kind.
    var title: String {
        switch self {
        case .badRequest: "The request is malformed"
        case .badTopic: "The topic is not usable"
        case .badFilter: "The filter is not usable"
        case .badCursor: "The cursor is not usable"
        case .badParameter: "A query parameter is not usable"
        case .badHeader: "A header is not usable"
        case .badJSON: "The body is not JSON"
        case .badEvent: "The body is no event"
        case .badHandshake: "The WebSocket handshake is not usable"
        case .unsupportedMediaType: "The content type is not supported"
        case .forbiddenOrigin: "Pages of this origin may not use the server"
        case .notFound: "There is no such resource"
        case .methodNotAllowed: "The method is not allowed here"
        case .bodyTooLarge: "The body is too large"
        case .upgradeRequired: "A WebSocket is needed here"
        case .idempotencyConflict: "The idempotency key was used for something else"
        case .tooManyFilters: "There are too many filters"
        case .tooManyTopics: "There are too many topics"
        case .memoryLimit: "The server's memory limit is reached"
        case .draining: "The server is shutting down"
        case .unauthorized: "A token is needed here"
        case .invalidToken: "The token is not accepted"
        case .expiredToken: "The token has expired"
        case .revokedToken: "The token has been revoked"
        case .forbidden: "The token does not grant this"
        case .badRevocation: "The revocation is not usable"
        case .keysUnavailable: "Tokens can't be checked now"
        case .notImplemented: "The method is not implemented"
        case .internalError: "Something went wrong in the server"
        case .tooManyConnections: "Too many connections"
        case .rateLimited: "Too much was asked for in too short a time"
        case .overloaded: "The server has too much to do"
        }
    }

    /// The kind as the value of a metric's label.
    var label: String { String(rawValue.map { $0 == "-" ? "_" : $0 }) }
}

extension RequestMethod {
    /// Methods as a header lists them.
    static func list(_ methods: [RequestMethod]) -> String {
        methods.map(\.rawValue).joined(separator: ", ")
    }
}

// MARK: Faults of the core

extension Problem {
    /// A name in the path, the query or a command that is no topic or no filter.
    init(_ kind: Kind, _ fault: NameFault, in name: String) {
        self.init(kind, Self.sentence(fault, in: name))
    }

    /// What is wrong with a name: `"a//b": segment 2 is empty`.
    static func sentence(_ fault: NameFault, in name: String) -> String {
        let shown = EscapedText.quoted(name, limit: 80)
        guard fault.segment > 0 else { return "\(shown) \(fault.what)" }
        let segment = fault.text.isEmpty ? "" : " (\(EscapedText.quoted(fault.text, limit: 40)))"
        return "\(shown): segment \(fault.segment)\(segment) \(fault.what)"
    }

    /// A query that is no text.
    init(_ fault: QueryFault) {
        self.init(.badParameter, "the parameter \(EscapedText.quoted(fault.name, limit: 40)) \(fault.what)")
    }

    /// A body of events that is none. `format` decides how the place is named.
    init(_ fault: BatchFault, format: BatchFormat) {
        switch fault.kind {
        case .syntax:
            self.init(.badJSON, fault.what)
            line = fault.line
            column = fault.column
        case .event:
            self.init(event: fault.what, at: fault.index, line: fault.line, format: format)
        case .tooMany:
            self.init(.bodyTooLarge, "the body holds \(fault.what)")
            limit = fault.index
        case .outOfMemory:
            self.init(.memoryLimit, "there is no memory to read the body in")
        }
    }

    /// An item of a body that is no event.
    init(event what: String, at index: Int, line: Int?, format: BatchFormat) {
        switch format {
        case .cloudEvent:
            self.init(.badEvent, what)
        case .lines:
            self.init(.badEvent, line.map { "line \($0): \(what)" } ?? what)
            self.line = line
        case .array, .cloudEvents:
            self.init(.badEvent, "item \(index): \(what)")
            self.index = index
        }
    }

    /// Events that could not be published.
    init(_ fault: PublishFault, isList: Bool) {
        switch fault {
        case .tooManyTopics:
            self.init(.tooManyTopics, "the server keeps as many topics as it is configured to; nothing was published")
        case .tooLarge(let index):
            self.init(.bodyTooLarge, "the event is larger than what its topic may keep; nothing was published")
            if isList { self.index = index }
        case .outOfMemory:
            self.init(.memoryLimit, "there is no memory for the event; nothing was published")
        }
    }

    /// A request that cannot become a reader.
    init(_ fault: SubscribeFault, position: Position, filterLimit: Int) {
        switch fault {
        case .beyondHead:
            var cursor = ""
            if case .after(let given) = position { cursor = " \(given)" }
            self.init(.badCursor, "the cursor\(cursor) lies beyond the newest event")
        case .tooManyFilters:
            self.init(
                .tooManyFilters,
                "a connection has at most \(filterLimit) filters, and the server is bounded over all connections")
            limit = filterLimit
        case .invalid:
            self.init(.badRequest, "the request cannot become a reader")
        case .notSubscribed:
            self.init(.notFound, "one of the filters is not subscribed to; nothing was changed")
        case .closed:
            self.init(.draining, "the server is shutting down; come back later")
        case .outOfMemory:
            self.init(.memoryLimit, "there is no memory for another reader")
        case .tooManyOfAddress:
            self.init(.tooManyConnections, "your address has as many connections as it may")
        case .tooManyBegin:
            self.init(.overloaded, "as many streams have begun in this second as may; come back later")
        }
    }

    /// A WebSocket handshake that cannot be answered.
    init(_ fault: HandshakeFault) {
        self.init(fault.isWrongVersion ? .upgradeRequired : .badHandshake, fault.what)
    }
}
