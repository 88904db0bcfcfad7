/// Why the server refused a request: an `application/problem+json` document (RFC 9457).
public struct Problem: Sendable, Equatable {
    /// Names the kind of problem, e.g. `/problems/bad-topic`.
    public var type: String

    /// The kind of problem in words.
    public var title: String

    /// The HTTP status.
    public var status: Int

    /// What was wrong with this very request.
    public var detail: String?

    /// The line of the body that was wrong, when the server said so.
    public var line: Int?

    /// The column of that line.
    public var column: Int?

    /// The item of the body that was wrong, counted from 0, when the server said so.
    public var index: Int?

    /// The limit that was exceeded.
    public var limit: Int?

    /// How long the server asked to wait before trying again.
    public var retryAfter: Duration?

    /// Makes a problem.
    public init(type: String, title: String, status: Int, detail: String? = nil) {
        self.type = type
        self.title = title
        self.status = status
        self.detail = detail
    }

    /// The last part of `type`: `bad-topic` of `/problems/bad-topic`.
    public var slug: String { String(type.split(separator: "/").last ?? "") }

    /// Whether the server itself said so, not something before it.
    var isOfServer: Bool { type.hasPrefix("/problems/") }

    /// Whether the same request may succeed later.
    public var isTransient: Bool {
        switch status {
        case 408, 425, 429, 500, 502, 503, 504: true
        default: false
        }
    }
}

extension Problem: CustomStringConvertible {
    /// The problem as one sentence for people.
    public var description: String {
        var text = title
        if let detail, !detail.isEmpty, detail != title { text += ": \(detail)" }
        // The line is named only when the detail's own words have not done so.
        if let line, !text.contains("line \(line)") {
            text += " (line \(line)" + (column.map { ", column \($0)" } ?? "") + ")"
        }
        return text.last == "." ? text : text + "."
    }
}

extension Problem {
    /// Reads a problem from an answer. One that is no problem document gives a problem from its status alone.
    package init(status: Int, reason: String, contentType: String?, retryAfter: String?, body: [UInt8]) {
        self.init(type: "about:blank", title: "The server answered \(status) \(reason)", status: status)
        if MediaType.essence(contentType ?? "") == "application/problem+json" {
            // A document that cannot be read says no less than its status does.
            try? read(JSONText(bytes: body))
        }
        // RFC 9110 §10.2.3 allows a date as well; a server of ours sends seconds, and so do the proxies before it.
        if let seconds = retryAfter.flatMap({ Int64($0) }), seconds >= 0 {
            self.retryAfter = .seconds(Swift.min(seconds, 86_400))
        }
    }

    private mutating func read(_ text: JSONText) throws {
        let members = Members(text, try text.members(of: try text.root()))
        type = try members.string("type") ?? type
        title = try members.string("title") ?? title
        detail = try members.string("detail")
        line = try members.integer("line")
        column = try members.integer("column")
        index = try members.integer("index")
        limit = try members.integer("limit")
    }
}

/// What can go wrong between this client and its server.
public enum HeraldError: Error, Sendable, Equatable {
    /// The server refused, and said why.
    case problem(Problem)

    /// The server cannot be reached. What was to be sent has not been.
    case unreachable(String)

    /// The connection ended during a request or a subscription, or no answer came in time.
    case cut(String)

    /// Nothing came from the server for longer than its heartbeats allow.
    case silent(Duration)

    /// The server closed the WebSocket with this code.
    case closed(code: Int, reason: String)

    /// What the server sent is not what this protocol has.
    case malformed(String)

    /// Something was larger than this client's limit for it.
    case tooLarge(what: String, limit: Int)

    /// The address of the server, or a filter or topic, cannot be used.
    case unusable(String)

    /// The subscription gave up after this many attempts in a row.
    case gaveUp(attempts: Int, reason: String)

    /// Events may be missing, and `LossPolicy.fail` is to end a loop then.
    case lost(Gap)

    /// `TokenSource.provided` gave no token. Names the kind of error that it threw, but not what that says.
    case noToken(String)

    /// A publish got no answer: nobody knows whether the event was published.
    case unanswered(String)

    /// There are as many of something as this client's limit allows.
    case tooMany(what: String, limit: Int)

    /// Whether trying again may help.
    public var isTransient: Bool {
        switch self {
        case .problem(let problem): problem.isTransient
        case .unreachable, .cut, .silent, .closed, .noToken, .tooMany: true
        case .malformed, .tooLarge, .unusable, .gaveUp, .lost, .unanswered: false
        }
    }
}

extension HeraldError: CustomStringConvertible {
    /// The error as one sentence for people.
    public var description: String {
        switch self {
        case .problem(let problem): problem.description
        case .unreachable(let reason): "The server cannot be reached: \(reason)."
        case .cut(let what): "\(what)."
        case .silent(let time): "Nothing came from the server for \(time.inSeconds) s."
        case .closed(let code, let reason):
            "The server closed the WebSocket (\(code)\(reason.isEmpty ? "" : ", \(reason)"))."
        case .malformed(let what): "The server sent \(what)."
        case .tooLarge(let what, let limit): "\(what) is larger than this client's limit of \(limit) bytes."
        case .unusable(let what): "\(what)."
        case .gaveUp(let attempts, let reason): "Gave up after \(attempts) attempts. \(reason)"
        case .lost(let gap):
            "Events of \(gap.topic) from \(gap.from) to \(gap.to) may be missing (\(gap.reason))."
        case .noToken(let reason): "There is no token to show the server: \(reason)."
        case .unanswered(let reason): "The server may have published it or not. \(reason)"
        case .tooMany(let what, let limit): "There are \(limit) \(what), as many as this client's limit allows."
        }
    }
}

extension Duration {
    /// The duration in seconds, for people: at most one decimal.
    var inSeconds: String {
        let tenths = components.seconds * 10 + components.attoseconds / 100_000_000_000_000_000
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }
}
