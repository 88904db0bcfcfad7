import HeraldCore

// Publishing one event is the path that is measured: it looks at the request where it lies, makes no text of it,
// and asks for a key or for CloudEvents' headers only by looking them up.

extension Service {
    /// `POST /v1/events/{topic}`: the body is the data of one event, or one CloudEvent.
    func publishOne(_ request: consuming Request, topicFrom offset: Int, as grant: Grant) {
        let form: PublishForm
        let key: IdempotencyKey?
        do throws(Problem) {
            form = try PublishForm(ofOne: request, topicFrom: offset)
            try PublishChecks.checkRight(to: request.path.dropFirst(offset), of: grant)
            key = try PublishChecks.idempotencyKey(of: request, by: grant)
        } catch {
            refusePublish(error, request)
            return
        }
        switch form {
        case .plain:
            publish(
                request.asPublication(
                    topicFrom: offset, typeHeader: .heraldType, contentType: "application/octet-stream"), key, as: grant
            )
        case .binaryCloudEvent:
            publish(
                request.asPublication(
                    topicFrom: offset, typeHeader: .cloudEventType, contentType: "application/octet-stream"), key,
                as: grant)
        case .body(let format):
            publish(request, as: format, topicFrom: offset, key, as: grant)
        }
    }

    /// `POST /v1/events`: the body holds events that name their topics.
    func publishMany(_ request: consuming Request, as grant: Grant) {
        let format: BatchFormat
        let key: IdempotencyKey?
        do throws(Problem) {
            format = try PublishForm.format(ofMany: request)
            key = try PublishChecks.idempotencyKey(of: request, by: grant)
        } catch {
            refusePublish(error, request)
            return
        }
        publish(request, as: format, topicFrom: nil, key, as: grant)
    }

    /// The WebSocket command to publish one event.
    func publishCommand(_ request: consuming Request) {
        let grant: Grant
        do throws(Problem) {
            grant = try self.grant(of: request)
        } catch {
            refusePublish(error, request)
            return
        }
        let work = request.asPublication()
        do throws(Problem) {
            try PublishChecks.check(command: work.publications[0])
            try PublishChecks.checkRight(to: work.publications[0].topic, of: grant)
        } catch {
            refusePublish(error, work.abandon())
            return
        }
        publish(work, nil, as: grant)
    }

    /// Parses the body, checks every event in it, and publishes them.
    private func publish(
        _ request: consuming Request, as format: BatchFormat, topicFrom offset: Int?, _ key: IdempotencyKey?,
        as grant: Grant
    ) {
        switch request.parsed(as: format, limit: limits.batch, topicFrom: offset) {
        case .refused(let request, let fault):
            refusePublish(Problem(fault, format: format), request)
        case .parsed(let work):
            do throws(Problem) {
                try PublishChecks.check(work, format: format)
                try PublishChecks.checkRights(work, format: format, of: grant)
            } catch {
                refusePublish(error, work.abandon())
                return
            }
            publish(work, key, as: grant)
        }
    }

    /// Publishes what has been checked, and answers.
    private func publish(_ work: consuming PublishRequest, _ key: IdempotencyKey?, as grant: Grant) {
        if let key {
            publish(work, under: key, as: grant)
            return
        }
        let receipts: Receipts
        do throws(Problem) {
            receipts = try append(work, as: grant)
        } catch {
            refusePublish(error, work.abandon())
            return
        }
        work.answer(receipts)
    }

    /// Publishes all events or none, if the publisher's rate allows it.
    private func append(_ work: borrowing PublishRequest, as grant: Grant) throws(Problem) -> Receipts {
        try publishRates?.admit(work.publications.count, of: Self.publisherKey(of: work, grant), at: .now)
        do throws(PublishFault) {
            return try engine.publish(work.publications)
        } catch {
            throw Problem(error, isList: work.isList)
        }
    }

    /// Whose rate a request to publish counts towards: a token's or key's owner's, else the client's address's.
    private static func publisherKey(of request: borrowing PublishRequest, _ grant: Grant) -> PublisherKey {
        grant.owner.map { .subject($0) } ?? .address(request.clientAddress?.counted)
    }

    /// Publishes unless a request of the same key has, and answers the same both times.
    private func publish(_ work: consuming PublishRequest, under key: IdempotencyKey, as grant: Grant) {
        let answer: IdempotencyCache.Answer
        do throws(Problem) {
            answer = try publishOnce(work, under: key, as: grant)
        } catch {
            refusePublish(error, work.abandon())
            return
        }
        switch answer {
        case .first(let body):
            work.abandon().answer(Response(status: 201, contentType: "application/json", body: body))
        case .repeated(let body):
            work.abandon().answer(Response(status: 200, contentType: "application/json", body: body))
        case .conflict:
            let problem = Problem(
                .idempotencyConflict,
                "the key \(EscapedText.quoted(key.text, limit: 40)) was used for other content within its window")
            refusePublish(problem, work.abandon())
        }
    }

    private func publishOnce(
        _ work: borrowing PublishRequest, under key: IdempotencyKey, as grant: Grant
    ) throws(Problem) -> IdempotencyCache.Answer {
        try idempotency.answer(to: key, at: .now) { () throws(Problem) -> [UInt8] in
            let receipts = try append(work, as: grant)
            return PublishedText.json(work.publications, receipts, epoch: engine.epoch, isList: work.isList)
        }
    }

    private func refusePublish(_ problem: Problem, _ request: consuming Request) {
        refusals.count(problem.kind)
        refuse(problem, request)
    }
}

/// How a request to publish holds its event or events.
enum PublishForm: Sendable, Equatable {
    /// The body is the data.
    case plain
    /// The body is the data, and CloudEvents' attributes are headers (HTTP binding §3.1).
    case binaryCloudEvent
    /// The body holds events.
    case body(BatchFormat)

    /// Finds out the form of a request to publish on the topic in its path, and checks all that is not the body.
    init(ofOne request: borrowing Request, topicFrom offset: Int) throws(Problem) {
        try PublishChecks.checkQuery(of: request)
        try PublishChecks.checkTopic(request.path.dropFirst(offset))
        if let type = request.header(.contentType) {
            try PublishChecks.check(contentType: type)
            guard type.hasPrefixIgnoringCase("application/cloudevents") else {
                self = try Self.plainOrBinary(request)
                return
            }
            let media = type.prefix(before: UInt8(ascii: ";")).trimmed()
            if media.equalsIgnoringCase("application/cloudevents+json") {
                self = .body(.cloudEvent)
                return
            }
            if media.equalsIgnoringCase("application/cloudevents-batch+json") {
                throw Problem(
                    .unsupportedMediaType,
                    "application/cloudevents-batch+json names its own topics; send it to /v1/events")
            }
        }
        self = try Self.plainOrBinary(request)
    }

    private static func plainOrBinary(_ request: borrowing Request) throws(Problem) -> PublishForm {
        if request.header(.cloudEventSpecVersion) != nil {
            try PublishChecks.checkCloudEvent(request)
            return .binaryCloudEvent
        }
        try PublishChecks.checkType(of: request)
        return .plain
    }

    /// Finds out the form of a body that holds events, and checks the query.
    static func format(ofMany request: borrowing Request) throws(Problem) -> BatchFormat {
        try PublishChecks.checkQuery(of: request)
        guard let type = request.header(.contentType), !type.isEmpty else {
            throw Problem(.unsupportedMediaType, "there is no Content-Type; \(expected)")
        }
        let media = type.prefix(before: UInt8(ascii: ";")).trimmed()
        if media.equalsIgnoringCase("application/x-ndjson") { return .lines }
        if media.equalsIgnoringCase("application/json") { return .array }
        if media.equalsIgnoringCase("application/cloudevents+json") { return .cloudEvent }
        if media.equalsIgnoringCase("application/cloudevents-batch+json") { return .cloudEvents }
        throw Problem(
            .unsupportedMediaType, "\(EscapedText.quoted(type.excerpt(), limit: 80)) holds no events; \(expected)")
    }

    private static let expected =
        "expected application/x-ndjson, application/json, application/cloudevents+json or "
        + "application/cloudevents-batch+json"
}
