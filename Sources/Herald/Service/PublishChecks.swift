import HeraldCore

/// What has to be true of an event before it is published. Throws what is not.
enum PublishChecks {
    /// The bytes of an event's type, and of an idempotency key.
    static let nameLength = 128

    /// The bytes of a content type.
    static let contentTypeLength = 256

    // MARK: Requests

    /// Publishing has no parameters of its own.
    static func checkQuery(of request: borrowing Request) throws(Problem) {
        guard !request.query.isEmpty else { return }
        let pairs: [QueryPair]
        do throws(QueryFault) { pairs = try request.queryPairs() } catch { throw Problem(error) }
        try Parameters.check(pairs, known: [])
    }

    /// The topic in a path.
    static func checkTopic(_ topic: borrowing Bytes) throws(Problem) {
        if let what = fault(inTopic: topic) { throw Problem(.badTopic, what) }
    }

    /// The `Content-Type` header is kept with the event, so it must be fit to be shown.
    static func check(contentType type: borrowing Bytes) throws(Problem) {
        guard !isContentType(type), !type.isEmpty else { return }
        throw Problem(.badHeader, "Content-Type must be at most \(contentTypeLength) printable ASCII characters")
    }

    /// The `Herald-Type` header.
    static func checkType(of request: borrowing Request) throws(Problem) {
        guard let type = request.header(.heraldType), let what = typeFault(type) else { return }
        throw Problem(.badHeader, "Herald-Type \(what)")
    }

    /// The headers of a CloudEvent in binary mode. `ce-id` and `ce-source` are demanded but not kept.
    static func checkCloudEvent(_ request: borrowing Request) throws(Problem) {
        guard let version = request.header(.cloudEventSpecVersion), version == "1.0" else {
            throw cloudEventProblem("ce-specversion must be 1.0")
        }
        guard let id = request.header(.cloudEventID), !id.isEmpty else {
            throw cloudEventProblem("ce-id is missing or empty")
        }
        guard let source = request.header(.cloudEventSource), !source.isEmpty else {
            throw cloudEventProblem("ce-source is missing or empty")
        }
        guard let type = request.header(.cloudEventType) else { throw cloudEventProblem("ce-type is missing") }
        if let what = typeFault(type) { throw cloudEventProblem("ce-type \(what)") }
    }

    private static func cloudEventProblem(_ detail: String) -> Problem {
        // In binary mode it is a header that is wrong, so 400 and not 422.
        var problem = Problem(.badEvent, detail)
        problem.otherStatus = 400
        return problem
    }

    /// The `Idempotency-Key` header with a hash of all that the request publishes; nil when there is none.
    /// Keys of different subjects are different keys: nobody gets another's answer, or takes a key away from them.
    static func idempotencyKey(of request: borrowing Request, by grant: Grant) throws(Problem) -> IdempotencyKey? {
        guard let key = request.header(.idempotencyKey) else { return nil }
        guard !key.isEmpty, key.count <= nameLength, key.isPrintableASCII else {
            throw Problem(.badHeader, "Idempotency-Key must be 1 to \(nameLength) printable ASCII characters")
        }
        var hasher = Hasher()
        request.path.hash(into: &hasher)
        request.body.hash(into: &hasher)
        for name in publishedHeaders {
            if let value = request.header(name) {
                value.hash(into: &hasher)
            } else {
                hasher.combine(-1)
            }
        }
        return IdempotencyKey(owner: grant.owner, text: key.text(), fingerprint: hasher.finalize())
    }

    /// The headers that become part of an event.
    private static let publishedHeaders: [HeaderName] = [.contentType, .heraldType, .cloudEventType]

    // MARK: Events

    /// The events of a parsed body.
    static func check(_ work: borrowing PublishRequest, format: BatchFormat) throws(Problem) {
        let publications = work.publications
        for index in 0..<publications.count {
            if let what = fault(in: publications[index], format: format) {
                throw Problem(event: what, at: index, line: work.line(of: index), format: format)
            }
        }
    }

    // MARK: Rights

    /// Whether a grant lets its owner publish to a topic.
    static func checkRight(to topic: borrowing Bytes, of grant: Grant) throws(Problem) {
        guard !grant.publish.allows(topic: topic) else { return }
        throw Problem(grant, mayNot: "publish to \(EscapedText.quoted(topic.excerpt(), limit: 80))")
    }

    /// Whether it lets them publish all of these.
    static func checkRights(
        _ work: borrowing PublishRequest, format: BatchFormat, of grant: Grant
    ) throws(Problem) {
        guard !grant.publish.isEverything else { return }
        let publications = work.publications
        for index in 0..<publications.count where !grant.publish.allows(topic: publications[index].topic) {
            var problem = Problem(
                grant,
                mayNot: "publish to \(EscapedText.quoted(publications[index].topic.excerpt(), limit: 80)); "
                    + "nothing was published")
            if work.isList { problem.index = index }
            problem.line = work.line(of: index)
            throw problem
        }
    }

    /// The event of a WebSocket command.
    static func check(command publication: borrowing Publication) throws(Problem) {
        try checkTopic(publication.topic)
        if !publication.type.isEmpty, let what = typeFault(publication.type) {
            throw Problem(.badEvent, "type \(what)")
        }
        if let what = contentTypeFault(publication.contentType) { throw Problem(.badEvent, what) }
    }

    private static func fault(in publication: borrowing Publication, format: BatchFormat) -> String? {
        let member = format == .cloudEvent || format == .cloudEvents ? "subject" : "topic"
        if publication.topic.isEmpty { return "\(member) is missing or empty; it names the topic" }
        if let what = fault(inTopic: publication.topic) { return "\(member) \(what)" }
        if !publication.type.isEmpty, let what = typeFault(publication.type) { return "type \(what)" }
        return contentTypeFault(publication.contentType)
    }

    private static func contentTypeFault(_ type: borrowing Bytes) -> String? {
        guard !isContentType(type) else { return nil }
        return "datacontenttype must be 1 to \(contentTypeLength) printable ASCII characters"
    }

    /// What is wrong with a topic that is to be published on; nil when nothing is.
    private static func fault(inTopic topic: borrowing Bytes) -> String? {
        if let fault = TopicName.fault(in: topic) { return Problem.sentence(fault, in: topic.excerpt()) }
        guard TopicName.isReserved(topic) else { return nil }
        return "\(EscapedText.quoted(topic.excerpt(), limit: 80)) is the server's own, as it begins with ~"
    }

    /// A type of ours would pass for one of the server's own events where the type names the event, as in SSE.
    private static func typeFault(_ type: borrowing Bytes) -> String? {
        guard !type.isEmpty, type.count <= nameLength, type.isVisibleASCII else {
            return "must be 1 to \(nameLength) printable ASCII characters without spaces"
        }
        return type.hasPrefix("herald.") ? "must not begin with herald., as the server's own do" : nil
    }

    private static func isContentType(_ type: borrowing Bytes) -> Bool {
        !type.isEmpty && type.count <= contentTypeLength && type.isPrintableASCII
    }
}

/// The answer to a publish with an idempotency key, which is kept and must be the same each time.
///
/// Other publishes are answered by the core, in the same form.
enum PublishedText {
    /// The JSON of receipts: the object alone, or a list of them.
    static func json(
        _ publications: borrowing Publications, _ receipts: Receipts, epoch: UInt32, isList: Bool
    ) -> [UInt8] {
        var json = JSONWriter()
        if isList {
            json.open()
            json.name("events")
            json.open("[")
        }
        for index in 0..<publications.count {
            let receipt = receipts[index]
            json.open()
            json.member("id", Cursor(epoch: epoch, sequence: receipt.sequence).description)
            json.member("topic", publications[index].topic.text())
            json.member("time", EventTime.text(milliseconds: receipt.timeMilliseconds))
            json.member("receivers", receipt.receivers)
            json.close()
        }
        if isList {
            json.close("]")
            json.close()
        }
        return json.bytes
    }
}
