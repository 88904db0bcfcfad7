import AsyncHTTPClient
import NIOCore

extension HeraldClient {
    /// Publishes one event.
    ///
    /// A publish is not tried again by itself: when its answer is lost, only the caller knows whether a second event
    /// would do harm. With an idempotency key it is safe to call again.
    ///
    /// - Parameters:
    ///   - data: The event's data.
    ///   - topic: The topic to publish to.
    ///   - type: What kind of event it is.
    ///   - contentType: The media type of the data.
    ///   - idempotencyKey: A second publish of the same key publishes nothing and gives the first one's receipt.
    @discardableResult
    public func publish(
        _ data: [UInt8], to topic: String, type: String? = nil, contentType: String = "application/octet-stream",
        idempotencyKey: String? = nil
    ) async throws -> Receipt {
        // An empty topic would address the batch resource, which takes the same data for something else.
        guard !topic.isEmpty else { throw HeraldError.unusable("The topic is empty") }
        var request = caller.request(.POST, "/v1/events/" + BaseURL.encode(topic))
        request.headers.add(name: "Content-Type", value: contentType)
        if let type { request.headers.add(name: "Herald-Type", value: type) }
        if let idempotencyKey { request.headers.add(name: "Idempotency-Key", value: idempotencyKey) }
        request.body = .bytes(data)
        let answer = try await caller.success(request)
        return try Self.reading(answer) { text in
            try Receipt(text, at: try text.root(), isRepeat: answer.status == 200)
        }
    }

    /// Publishes several events in one request, all or none of them. Gives their receipts in the same order.
    ///
    /// They get consecutive places in the server's order. A server takes so many events and bytes in one request
    /// (1,000 and 1 MiB unless configured). If it refuses them, the problem's `index` or `line` names the one that
    /// was wrong.
    ///
    /// Like a single publish this is not tried again by itself; with an idempotency key it is safe to call again with
    /// the same events. A `Publisher` does so, and puts the events of many callers into one request.
    ///
    /// - Parameters:
    ///   - events: What is to be published.
    ///   - idempotencyKey: A second call with the same key publishes nothing and gives the first one's receipts.
    @discardableResult
    public func publish(_ events: [Publication], idempotencyKey: String? = nil) async throws -> [Receipt] {
        guard !events.isEmpty else { return [] }
        let lines: [UInt8] = events.flatMap { event in event.line() + [0x0A] }
        let receipts = try await publish(lines: lines, idempotencyKey: idempotencyKey)
        guard receipts.count == events.count else {
            throw HeraldError.malformed("\(receipts.count) receipts for \(events.count) events")
        }
        return receipts
    }

    /// Publishes a batch of NDJSON lines, all or none of them, each an object with at least `topic` and `data`.
    ///
    /// - Parameters:
    ///   - lines: The lines.
    ///   - idempotencyKey: A second call with the same key publishes nothing and gives the first one's receipts.
    @discardableResult
    public func publish(lines: [UInt8], idempotencyKey: String? = nil) async throws -> [Receipt] {
        try Self.receipts(in: try await caller.success(caller.batch(lines, key: idempotencyKey)))
    }

    /// Makes a publisher, which puts the events of many callers into one request.
    public func publisher(_ limits: PublisherLimits = PublisherLimits()) -> Publisher {
        Publisher(caller, limits)
    }

    /// Reads the receipts of a batch.
    static func receipts(in answer: CollectedAnswer) throws -> [Receipt] {
        try reading(answer) { text in
            let members = Members(text, try text.members(of: try text.root()))
            guard let events = members.value("events") else {
                throw HeraldError.malformed("an answer to a batch without its events")
            }
            return try text.elements(of: events).map { try Receipt(text, at: $0, isRepeat: answer.status == 200) }
        }
    }

    /// Reads an answer's body with the closure; text that is not JSON becomes an error of this module.
    static func reading<Value>(_ answer: CollectedAnswer, _ read: (JSONText) throws -> Value) throws -> Value {
        do {
            return try read(JSONText(bytes: answer.body))
        } catch let error as JSONError {
            throw HeraldError.malformed("an answer that cannot be read: \(error)")
        }
    }
}

extension HTTPCaller {
    /// A request to publish a batch of lines.
    func batch(_ lines: [UInt8], key: String?) -> HTTPClientRequest {
        var request = request(.POST, "/v1/events")
        request.headers.add(name: "Content-Type", value: "application/x-ndjson")
        if let key { request.headers.add(name: "Idempotency-Key", value: key) }
        request.body = .bytes(lines)
        return request
    }
}
