// What a server sends on an open stream, the same on all transports: events, and objects about the stream.
//
// The two are told apart by their members, never by the SSE event name: that name is the event's type, which its
// publisher chose, and a publisher must not be able to forge a gap.

/// One message of an open stream.
enum ServerMessage: Sendable, Equatable {
    case event(Event)
    case welcome(cursor: Cursor?, heartbeat: Duration?)
    case heartbeat(Cursor)
    case resumed(Cursor?)
    case gap(Gap)
    case reset(Gap)
    case problem(Problem)

    /// The stream ends in order; come back after `retry`.
    case end(cursor: Cursor?, retry: Duration?)

    /// The right to read ends soon.
    case expiring(Expiry)

    /// The right to read has ended, and the stream with it.
    case denied(Problem)

    /// An answer or notice that a reader needs not act on.
    case notice(String)

    /// Reads a message from one JSON object.
    init(json bytes: [UInt8]) throws(HeraldError) {
        do {
            let text = JSONText(bytes: bytes)
            let members = try text.members(of: try text.root())
            let control = try Members(text, members).string("control")
            if control == nil, members.contains(where: { $0.name == "id" }) {
                self = .event(try Event(text, members: members))
            } else {
                self = try Self.control(control, Members(text, members))
            }
        } catch let error as JSONError {
            throw .malformed("a message that is not JSON: \(error)")
        } catch let error as HeraldError {
            throw error
        } catch {
            throw .malformed("a message that cannot be read")
        }
    }

    private static func control(_ name: String?, _ members: Members) throws -> ServerMessage {
        switch name {
        case "welcome":
            let heartbeat: Int? = try members.integer("heartbeat_ms")
            return .welcome(cursor: try members.cursor("cursor"), heartbeat: heartbeat.map { .milliseconds($0) })
        case "heartbeat":
            guard let cursor = try members.cursor("cursor") else {
                throw HeraldError.malformed("a heartbeat without a usable cursor")
            }
            return .heartbeat(cursor)
        case "end":
            guard try members.string("type") == nil else { return .denied(try problem(members)) }
            let retry: Int? = try members.integer("retry_ms")
            return .end(cursor: try members.cursor("cursor"), retry: retry.map { .milliseconds($0) })
        case "expiring":
            return .expiring(try Expiry(members))
        case "error":
            // With a reference it answers an operation, which does not concern the reading.
            return members.value("ref") == nil ? .problem(try problem(members)) : .notice("error")
        case nil where members.value("expires_in") != nil:
            return .expiring(try Expiry(members))
        case nil where members.value("status") != nil:
            return .denied(try problem(members))
        case nil, "resumed", "gap", "reset":
            return try outcome(members)
        case let other?:
            return .notice(other)
        }
    }

    private static func problem(_ members: Members) throws -> Problem {
        Problem(
            type: try members.string("type") ?? "about:blank", title: try members.string("title") ?? "Error",
            status: try members.integer("status") ?? 500, detail: try members.string("detail"))
    }

    /// Reads the answer to a resume, or the gap of a running stream, which has no `resume` member.
    static func outcome(_ members: Members) throws -> ServerMessage {
        let resume = try members.string("resume") ?? members.string("control") ?? "gap"
        if resume == "resumed" { return .resumed(try members.cursor("cursor")) }
        guard let from = try members.cursor("from"), let to = try members.cursor("to"),
            let reason = try members.string("reason")
        else { throw HeraldError.malformed("a gap that does not say what is missing") }
        let gap = Gap(topic: try members.string("topic") ?? "**", from: from, to: to, reason: Gap.Reason(reason))
        return resume == "reset" || gap.reason == .epoch ? .reset(gap) : .gap(gap)
    }
}

/// What a server says before a stream's right to read ends.
struct Expiry: Sendable, Equatable {
    /// How long the right lasts.
    var remaining: Duration

    /// Where the stream's token is renewed, if what was said can be such an address.
    var renewal: String?

    init(remaining: Duration, renewal: String?) {
        self.remaining = remaining
        self.renewal = renewal
    }

    init(_ members: Members) throws(JSONError) {
        let seconds: Int64 = try members.integer("expires_in") ?? 0
        remaining = .seconds(min(max(seconds, 0), 1 << 31))
        // A token is sent there: nothing but a path of this server may come of it.
        renewal = try members.string("renew").flatMap { path in
            let isPath = path.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
            return isPath && path.hasPrefix("/") && path.utf8.count <= 256 ? path : nil
        }
    }
}

/// The members of a JSON object, looked up by name.
struct Members {
    let text: JSONText
    private let values: [String: Range<Int>]

    init(_ text: JSONText, _ members: [(name: String, value: Range<Int>)]) {
        self.text = text
        self.values = Dictionary(members.map { ($0.name, $0.value) }, uniquingKeysWith: { _, last in last })
    }

    /// Gives a member's value; `nil` when it is missing or null.
    func value(_ name: String) -> Range<Int>? {
        guard let value = values[name], !text.isNull(value) else { return nil }
        return value
    }

    func string(_ name: String) throws(JSONError) -> String? {
        guard let value = value(name) else { return nil }
        return try text.string(at: value)
    }

    func integer<Integer: FixedWidthInteger>(_ name: String) throws(JSONError) -> Integer? {
        guard let value = value(name) else { return nil }
        return try text.integer(at: value)
    }

    func cursor(_ name: String) throws(JSONError) -> Cursor? {
        try string(name).flatMap { Cursor($0) }
    }
}

/// The answer to a poll.
struct PollAnswer: Sendable, Equatable {
    var events: [Event]
    var next: Cursor
    var outcome: ServerMessage?

    /// Reads an answer's body.
    init(json bytes: [UInt8]) throws(HeraldError) {
        do {
            let text = JSONText(bytes: bytes)
            let members = Members(text, try text.members(of: try text.root()))
            guard let next = try members.cursor("next"), let events = members.value("events") else {
                throw HeraldError.malformed("a poll answer without events and next")
            }
            self.next = next
            self.events = []
            for element in try text.elements(of: events) {
                self.events.append(try Event(json: Array(bytes[element])))
            }
            let resume = try members.string("resume")
            if let gap = members.value("gap") {
                let message = try ServerMessage.outcome(Members(text, try text.members(of: gap)))
                if case .gap(let gap) = message, resume == "reset" {
                    self.outcome = .reset(gap)
                } else {
                    self.outcome = message
                }
            } else if resume == "resumed" {
                self.outcome = .resumed(nil)
            }
        } catch let error as JSONError {
            throw .malformed("a poll answer that is not JSON: \(error)")
        } catch let error as HeraldError {
            throw error
        } catch {
            throw .malformed("a poll answer that cannot be read")
        }
    }
}
