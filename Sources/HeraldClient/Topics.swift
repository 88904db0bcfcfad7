import AsyncHTTPClient

/// What the server knows of one topic.
public struct TopicState: Sendable, Equatable {
    /// Live readers whose filters match, by transport.
    public struct Subscribers: Sendable, Equatable {
        /// Readers over WebSockets.
        public var webSocket = 0

        /// Readers of event streams.
        public var serverSentEvents = 0

        /// Readers of streams of JSON lines.
        public var ndjson = 0

        /// Held long-polls.
        public var longPoll = 0

        /// Short-polls: these hold nothing, so that there is rarely one to count.
        public var shortPoll = 0

        /// All of them.
        public var total: Int { webSocket + serverSentEvents + ndjson + longPoll + shortPoll }
    }

    /// The topic.
    public let topic: String

    /// How many events are kept for replay.
    public let retained: Int

    /// How many bytes these occupy.
    public let retainedBytes: Int

    /// Events up to this one may be missing.
    public let floor: Cursor?

    /// The newest event of the topic.
    public let head: Cursor?

    /// How many events were published since the server knows the topic.
    public let published: Int

    /// Who reads it now.
    public let subscribers: Subscribers

    /// The topic's state as one line of JSON, as the server sent it.
    public let json: [UInt8]
}

/// One page of the list of topics.
public struct TopicPage: Sendable, Equatable {
    /// The topics, by name.
    public let topics: [TopicState]

    /// Where the next page begins; `nil` on the last one.
    public let next: String?
}

extension HeraldClient {
    /// Gives one page of the topics whose names begin with the prefix.
    ///
    /// - Parameters:
    ///   - prefix: What the names begin with.
    ///   - after: The `next` of the page before; `nil` for the first page.
    ///   - limit: The most topics on the page, at most 1,000.
    public func topics(prefix: String = "", after: String? = nil, limit: Int = 100) async throws -> TopicPage {
        var query = [("limit", "\(limit)")]
        if !prefix.isEmpty { query.append(("prefix", prefix)) }
        if let after { query.append(("after", after)) }
        let answer = try await caller.success(caller.request(.GET, "/v1/topics", query: query))
        return try Self.reading(answer) { text in
            let members = Members(text, try text.members(of: try text.root()))
            guard let topics = members.value("topics") else {
                throw HeraldError.malformed("a list of topics without its topics")
            }
            return TopicPage(
                topics: try text.elements(of: topics).map { try TopicState(text, at: $0) },
                next: try members.string("next"))
        }
    }

    /// Gives the state of one topic.
    public func topic(_ topic: String) async throws -> TopicState {
        let answer = try await caller.success(caller.request(.GET, try Self.path(of: topic)))
        return try Self.reading(answer) { text in try TopicState(text, at: try text.root()) }
    }

    /// Removes all events that the topic keeps. Readers that had not come so far get a gap.
    public func purge(_ topic: String) async throws {
        _ = try await caller.success(caller.request(.DELETE, try Self.path(of: topic)))
    }

    private static func path(of topic: String) throws(HeraldError) -> String {
        guard !topic.isEmpty else { throw .unusable("The topic is empty") }
        return "/v1/topics/" + BaseURL.encode(topic)
    }
}

extension TopicState {
    /// Reads a topic's state from one object of an answer.
    init(_ text: JSONText, at value: Range<Int>) throws {
        let members = Members(text, try text.members(of: value))
        guard let topic = try members.string("topic") else {
            throw HeraldError.malformed("a topic without its name")
        }
        var subscribers = Subscribers()
        if let counts = members.value("subscribers") {
            let counts = Members(text, try text.members(of: counts))
            subscribers.webSocket = try counts.integer("websocket") ?? 0
            subscribers.serverSentEvents = try counts.integer("sse") ?? 0
            subscribers.ndjson = try counts.integer("ndjson") ?? 0
            subscribers.longPoll = try counts.integer("longpoll") ?? 0
            subscribers.shortPoll = try counts.integer("shortpoll") ?? 0
        }
        self.init(
            topic: topic, retained: try members.integer("retained") ?? 0,
            retainedBytes: try members.integer("retained_bytes") ?? 0, floor: try members.cursor("floor"),
            head: try members.cursor("head"), published: try members.integer("published") ?? 0,
            subscribers: subscribers, json: Array(text.bytes[value]))
    }
}
