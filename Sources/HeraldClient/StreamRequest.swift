import AsyncHTTPClient

/// A request for a stream of events that is the body of an HTTP answer.
struct StreamRequest: Sendable {
    let caller: HTTPCaller
    let filters: [String]

    /// The representation that is asked for.
    let mediaType: String

    /// Runs one connection: opens the stream, and has `read` read its body to the end.
    func run(
        _ lane: Lane, _ read: @escaping @Sendable (HTTPClientResponse.Body, StreamMessages) async throws -> Void
    ) async throws -> StreamEnd {
        let silenceMax = caller.configuration.silenceMax
        let request = request(from: await lane.position)
        do {
            return try await SilenceWatch.run(limit: silenceMax) { watch in
                try await caller.showingToken { token in
                    guard let body = try await open(request.showing(token), watch) else { return .stop }
                    return try await Renewer.run(caller.tokens, from: token, caller.renew(_:_:)) { renewer in
                        try await read(
                            body,
                            StreamMessages(lane: lane, watch: watch, renewer: renewer, silenceMax: silenceMax))
                        return .reconnect
                    }
                }
            }
        } catch {
            throw caller.explain(error)
        }
    }

    /// Opens the stream and gives its body; nil when the server says that there is nothing to come back for.
    private func open(_ request: HTTPClientRequest, _ watch: SilenceWatch) async throws -> HTTPClientResponse.Body? {
        watch.startWaiting()
        let response = try await caller.client.execute(request, deadline: .distantFuture)
        if response.status == .noContent { return nil }
        guard response.status == .ok else {
            throw HeraldError.problem(Problem(try await caller.collect(response)))
        }
        watch.stopWaiting()
        let contentType = response.headers.first(name: "Content-Type") ?? ""
        guard MediaType.essence(contentType) == mediaType else {
            throw HeraldError.malformed("an answer of type \"\(contentType)\" where \(mediaType) was expected")
        }
        return response.body
    }

    private func request(from position: Position) -> HTTPClientRequest {
        var query = filters.map { ("topic", $0) }
        if case .after = position {} else { query.append(("after", position.description)) }
        var request = caller.request(.GET, "/v1/events", query: query)
        request.headers.add(name: "Accept", value: mediaType)
        request.headers.add(name: "Cache-Control", value: "no-store")
        if case .after(let cursor) = position {
            request.headers.add(name: "Last-Event-ID", value: cursor.description)
        }
        return request
    }
}
