import HeraldCore

extension Service {
    /// `GET /v1/topics`: states of topics, by name. The server's own are told to who asks for them by prefix.
    func listTopics(_ request: consuming Request, as grant: Grant) {
        let answer: Response
        do throws(Problem) {
            let query = try Self.pairs(of: request)
            let parameters = try Parameters(query, known: ["prefix", "limit", "after"])
            let limit = try parameters.number("limit", in: 1...1000, unit: " of topics") ?? 100
            let prefix = parameters["prefix"] ?? ""
            let page = try topics(prefix: prefix, after: parameters["after"] ?? "", limit: limit, as: grant)
            answer = TopicText.response(page)
        } catch {
            refuse(error, request)
            return
        }
        request.answer(answer)
    }

    /// A page of the topics that may be seen: those that may be subscribed to.
    private func topics(
        prefix: String, after: String, limit: Int, as grant: Grant
    ) throws(Problem) -> TopicPage {
        guard !access.isOn || !grant.subscribe.isEmpty else { throw Problem(grant, mayNot: "see topics") }
        // One more than is told, to know whether a topic of publishers follows.
        var page = hub.log.states(
            prefix: prefix, after: after, matching: access.isOn ? grant.subscribe.filters : [], limit: limit + 1)
        if !prefix.hasPrefix("~") { page.topics.removeAll { $0.topic.hasPrefix("~") } }
        page.hasMore = page.topics.count > limit
        page.topics.removeLast(max(0, page.topics.count - limit))
        return page
    }

    /// `GET /v1/topics/{topic}`: the state of one topic.
    func tellTopic(_ request: consuming Request, from offset: Int, as grant: Grant) {
        let answer: Response
        do throws(Problem) {
            let topic = try Self.topic(in: request, from: offset)
            guard !access.isOn || grant.subscribe.allows(topic: topic) else {
                throw Problem(grant, mayNot: "see \(EscapedText.quoted(topic.text, limit: 80))")
            }
            guard let state = hub.log.state(of: topic) else { throw Self.unknown(topic) }
            answer = TopicText.response(state)
        } catch {
            refuse(error, request)
            return
        }
        request.answer(answer)
    }

    /// `DELETE /v1/topics/{topic}`: lets go of all that the topic keeps; readers behind are told of a gap.
    func purgeTopic(_ request: consuming Request, from offset: Int, as grant: Grant) {
        do throws(Problem) {
            let topic = try Self.topic(in: request, from: offset)
            guard !request.path.dropFirst(offset).hasPrefix("~") else {
                throw Problem(.badTopic, "\(EscapedText.quoted(topic.text, limit: 80)) is the server's own")
            }
            guard grant.manage.allows(topic: topic) else {
                throw Problem(grant, mayNot: "purge \(EscapedText.quoted(topic.text, limit: 80)); that needs manage")
            }
            guard hub.log.purge(topic) else { throw Self.unknown(topic) }
        } catch {
            refuse(error, request)
            return
        }
        request.answer(Response(status: 204))
    }

    private static func topic(in request: borrowing Request, from offset: Int) throws(Problem) -> TopicName {
        try Parameters.check(pairs(of: request), known: [])
        let text = request.path.dropFirst(offset).text()
        do throws(NameFault) { return try TopicName(text) } catch { throw Problem(.badTopic, error, in: text) }
    }

    private static func pairs(of request: borrowing Request) throws(Problem) -> [QueryPair] {
        do throws(QueryFault) { return try request.queryPairs() } catch { throw Problem(error) }
    }

    private static func unknown(_ topic: TopicName) -> Problem {
        Problem(.notFound, "there is no topic \(EscapedText.quoted(topic.text, limit: 80))")
    }
}

/// States of topics as JSON.
enum TopicText {
    /// The answer that holds one topic.
    static func response(_ state: TopicState) -> Response {
        var json = JSONWriter()
        append(state, to: &json)
        return Response.text(200, json.bytes)
    }

    /// The answer that holds a page of topics; `next` names the last of them when more follow.
    static func response(_ page: TopicPage) -> Response {
        var json = JSONWriter()
        json.open()
        json.name("topics")
        json.open("[")
        for state in page.topics { append(state, to: &json) }
        json.close("]")
        json.member("next", page.hasMore ? page.topics.last?.topic : nil)
        json.close()
        return Response.text(200, json.bytes)
    }

    private static func append(_ state: TopicState, to json: inout JSONWriter) {
        json.open()
        json.member("topic", state.topic)
        json.member("retained", state.retained)
        json.member("retained_bytes", state.retainedBytes)
        json.member("floor", state.floor.description)
        json.member("head", state.head.description)
        json.member("published", state.published)
        json.name("subscribers")
        json.open()
        for transport in Transport.allCases {
            json.member(transport.label, state.subscribers[transport] ?? 0)
        }
        json.close()
        json.close()
    }
}

extension Transport {
    /// The transport as the value of a metric's label, and as a member of JSON.
    var label: String {
        switch self {
        case .webSocket: "websocket"
        case .serverSentEvents: "sse"
        case .ndjson: "ndjson"
        case .longPoll: "longpoll"
        case .shortPoll: "shortpoll"
        }
    }
}
