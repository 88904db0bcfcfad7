internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldLog
internal import CHeraldWire

/// A request together with the events that it asks to publish, which lie in its memory.
///
/// Like the request that it was made of, it is ended exactly once: by its answer, or by becoming that request again.
@safe
public struct PublishRequest: ~Copyable {
    private let request: OpaquePointer
    /// The only publication; unused when there are several.
    private let one: hr_publication
    /// What was parsed; nil when nothing had to be.
    private let batch: OpaquePointer?
    /// Whether the answer is one object rather than a list.
    private let isSingle: Bool

    init(_ request: OpaquePointer, one: hr_publication, batch: OpaquePointer? = nil) {
        unsafe self.request = request
        unsafe self.one = one
        unsafe self.batch = batch
        isSingle = true
    }

    init(_ request: OpaquePointer, batch: OpaquePointer) {
        unsafe self.request = request
        unsafe one = hr_publication()
        unsafe self.batch = batch
        isSingle = false
    }

    deinit {
        unsafe Self.free(batch)
        var request: OpaquePointer? = unsafe request
        unsafe hr_request_drop(&request)
    }

    private static func free(_ batch: OpaquePointer?) {
        guard unsafe batch != nil else { return }
        var batch = unsafe batch
        unsafe hr_batch_free(&batch)
    }

    /// The events.
    public var publications: Publications {
        @_lifetime(borrow self)
        get {
            if !isSingle, let batch = unsafe batch { return unsafe Publications(batch: batch, of: self) }
            return unsafe Publications(one: one, of: self)
        }
    }

    /// Whose request it is, as ``Request/clientAddress``.
    public var clientAddress: IPAddress? { IPAddress(unsafe hr_request_client(request)) }

    /// The line of the body on which an event stood, from 1; nil when the format has no lines.
    public func line(of index: Int) -> Int? {
        guard let batch = unsafe batch, unsafe index < hr_batch_count(batch) else { return nil }
        let line = unsafe hr_batch_line(batch, index)
        return line == 0 ? nil : Int(line)
    }

    /// Whether the events came as a list, so that a mistake names its place in it.
    public var isList: Bool { !isSingle }

    /// Answers with the receipts: 201, or a `published` message for a command.
    public consuming func answer(_ receipts: Receipts) {
        unsafe publications.withCore { items in
            var handle: OpaquePointer? = unsafe request
            switch receipts {
            case .one(let receipt):
                var core = receipt.core
                unsafe hr_request_answer_published(&handle, items.baseAddress, &core, 1, isSingle)
            case .many(let receipts):
                let core = receipts.map(\.core)
                unsafe hr_request_answer_published(&handle, items.baseAddress, core, core.count, isSingle)
            }
        }
        unsafe Self.free(batch)
        discard self
    }

    /// Lets go of the events, and gives the request back to be answered otherwise.
    public consuming func abandon() -> Request {
        unsafe Self.free(batch)
        let request = unsafe request
        discard self
        return unsafe Request(request)
    }
}

/// The form of a body that holds events.
public enum BatchFormat: Sendable, Hashable {
    /// One JSON object a line.
    case lines
    /// A JSON array of objects.
    case array
    /// One CloudEvent in JSON.
    case cloudEvent
    /// A JSON array of CloudEvents.
    case cloudEvents

    fileprivate var core: hr_batch_format {
        switch self {
        case .lines: .HR_BATCH_NDJSON
        case .array: .HR_BATCH_JSON_ARRAY
        case .cloudEvent: .HR_BATCH_CLOUDEVENT
        case .cloudEvents: .HR_BATCH_CLOUDEVENTS
        }
    }
}

/// What is wrong with a body of events, and where.
public struct BatchFault: Error, Sendable, Hashable {
    /// The kinds of mistakes.
    public enum Kind: Sendable, Hashable {
        /// It is not JSON.
        case syntax
        /// It is JSON, but an item is no event.
        case event
        /// It has more items than are allowed.
        case tooMany
        /// There is no memory to parse it in.
        case outOfMemory
    }

    /// The kind of mistake.
    public let kind: Kind
    /// What is wrong; what it shows of the body is short and printable.
    public let what: String
    /// The line, from 1; nil when that says nothing.
    public let line: Int?
    /// The column in bytes, from 1; nil when that says nothing.
    public let column: Int?
    /// The item, from 0.
    public let index: Int

    fileprivate init(_ status: hr_status, _ core: hr_batch_error) {
        switch status {
        case .invalid: kind = core.is_syntax ? .syntax : .event
        case .limitReached: kind = .tooMany
        default: kind = .outOfMemory
        }
        what = unsafe withUnsafeBytes(of: core.what) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        line = core.line == 0 ? nil : Int(core.line)
        column = core.column == 0 ? nil : Int(core.column)
        index = Int(core.index)
    }
}

/// What became of a request whose body was to hold events.
public enum BatchOutcome: ~Copyable {
    /// They can be published.
    case parsed(PublishRequest)
    /// The request is as it was before, and must still be answered.
    case refused(Request, BatchFault)
}

extension Request {
    /// The request as one event: its data is the body, its topic the path from an offset on.
    ///
    /// - Parameters:
    ///   - offset: where in the path the topic begins.
    ///   - typeHeader: the header that gives the event's type, if there is one.
    ///   - contentType: the content type of a body that comes without.
    public consuming func asPublication(
        topicFrom offset: Int, typeHeader: HeaderName, contentType: StaticString
    ) -> PublishRequest {
        let topic = unsafe path.dropFirst(offset).slice
        var one = unsafe hr_publication()
        unsafe one.topic = topic
        unsafe one.data = body.slice
        if let type = header(typeHeader) { unsafe one.type = type.slice }
        if let given = header(.contentType), !given.isEmpty {
            unsafe one.content_type = given.slice
        } else {
            unsafe one.content_type = hr_slice(contentType)
        }
        return unsafe PublishRequest(release(), one: one)
    }

    /// The command as one event. Precondition: a command to publish.
    public consuming func asPublication() -> PublishRequest {
        guard let command = unsafe hr_request_command(handle) else {
            preconditionFailure("a command without its content")
        }
        return unsafe PublishRequest(release(), one: command.pointee.publication)
    }

    /// The request as the events that its body holds.
    ///
    /// - Parameters:
    ///   - format: the form of the body.
    ///   - limit: how many events it may hold.
    ///   - offset: where in the path the topic of a single CloudEvent begins; nil: the body names it.
    public consuming func parsed(
        as format: BatchFormat, limit: Int, topicFrom offset: Int? = nil
    ) -> BatchOutcome {
        var fault = hr_batch_error()
        var batch: OpaquePointer?
        let status = unsafe hr_batch_parse(body.slice, format.core, limit, &batch, &fault)
        guard status == .ok, let batch = unsafe batch else {
            return .refused(self, BatchFault(status, fault))
        }
        guard format == .cloudEvent, let item = unsafe hr_batch_item(batch, 0) else {
            return .parsed(unsafe PublishRequest(release(), batch: batch))
        }
        var one = unsafe item.pointee
        if let offset { unsafe one.topic = path.dropFirst(offset).slice }
        return .parsed(unsafe PublishRequest(release(), one: one, batch: batch))
    }
}
