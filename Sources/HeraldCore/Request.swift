internal import CHeraldBase
internal import CHeraldHub
internal import CHeraldLog
internal import CHeraldWire

/// One request of a client, which is ended exactly once.
///
/// Answering consumes it, so that a second answer does not compile; one that is let go of unanswered is answered 500.
/// It stays on the thread of its loop. What it shows of itself cannot outlive it.
@safe
public struct Request: ~Copyable {
    let handle: OpaquePointer

    /// Takes a request that the core gave.
    init(_ handle: OpaquePointer) {
        unsafe self.handle = handle
    }

    deinit {
        var handle: OpaquePointer? = unsafe handle
        unsafe hr_request_drop(&handle)
    }

    /// Gives the core's request up without ending it.
    consuming func release() -> OpaquePointer {
        let handle = unsafe handle
        discard self
        return unsafe handle
    }

    /// What kind of request it is.
    public var kind: RequestKind {
        switch unsafe hr_request_kind_of(handle) {
        case .HR_REQUEST_HTTP: .http
        case .HR_REQUEST_COMMAND: .command
        }
    }

    // MARK: HTTP

    /// The method. Precondition: an HTTP request.
    public var method: RequestMethod {
        switch unsafe hr_request_method(handle) {
        case .HR_HTTP_GET: .get
        case .HR_HTTP_HEAD: .head
        case .HR_HTTP_POST: .post
        case .HR_HTTP_PUT: .put
        case .HR_HTTP_DELETE: .delete
        case .HR_HTTP_OPTIONS: .options
        case .HR_HTTP_PATCH: .patch
        case .HR_HTTP_OTHER: .other
        }
    }

    /// The path with its escapes undone.
    public var path: Bytes {
        @_lifetime(borrow self)
        get { unsafe Bytes(hr_request_path(handle), of: self) }
    }

    /// The query as it came; empty when there is none.
    public var query: Bytes {
        @_lifetime(borrow self)
        get { unsafe Bytes(hr_request_query(handle), of: self) }
    }

    /// The body. Precondition: an HTTP request.
    public var body: Bytes {
        @_lifetime(borrow self)
        get { unsafe Bytes(hr_request_body(handle), of: self) }
    }

    /// The first header of a name. Precondition: an HTTP request.
    @_lifetime(borrow self)
    public func header(_ name: HeaderName) -> Bytes? {
        var value = unsafe hr_slice()
        guard unsafe hr_request_header(handle, name.core, &value) else { return nil }
        return unsafe Bytes(value, of: self)
    }

    /// The first header of any name, by looking at all of them. Precondition: an HTTP request.
    @_lifetime(borrow self)
    public func header(named name: StaticString) -> Bytes? {
        var value = unsafe hr_slice()
        guard unsafe hr_request_find_header(handle, hr_slice(name), &value) else { return nil }
        return unsafe Bytes(value, of: self)
    }

    /// Whether it came by TLS. Precondition: an HTTP request.
    public var isSecure: Bool { unsafe hr_request_is_secure(handle) }

    /// Has the head of its answer, whatever that will be, hold one of ``HubConfiguration/headerBlocks``. Precondition: an
    /// HTTP request, and there is such a block.
    public func setHeaders(_ index: Int) {
        unsafe hr_request_set_headers(handle, index)
    }

    /// The value of the first cookie of a name (RFC 6265 §5.4). Precondition: an HTTP request.
    @_lifetime(borrow self)
    public func cookie(named name: String) -> Bytes? {
        guard let header = header(.cookie) else { return nil }
        let line = unsafe header.slice
        var value = unsafe hr_slice()
        guard unsafe name.withSlice({ name in unsafe hr_cookie_find(line, name, &value) }) else { return nil }
        return unsafe Bytes(value, of: self)
    }

    /// Whether it asks to become a WebSocket. Precondition: an HTTP request.
    public var wantsWebSocket: Bool { unsafe hr_request_wants_upgrade(handle) }

    /// What is wrong with it as a WebSocket handshake; nil when it is a good one.
    public var handshakeFault: HandshakeFault? {
        var isWrongVersion = false
        guard let what = unsafe hr_request_handshake_fault(handle, &isWrongVersion) else { return nil }
        return unsafe HandshakeFault(what: String(cString: what), isWrongVersion: isWrongVersion)
    }

    /// Whose request it is: the connection's peer, or what trusted proxies say of it; nil when the connection has gone.
    ///
    /// Behind a proxy a command has the address that is counted, ``IPAddress/counted``. Costs a system call.
    public var clientAddress: IPAddress? {
        IPAddress(unsafe hr_request_client(handle))
    }

    // MARK: Answering

    /// Answers with a whole body. Content-Length, Date, Server and Connection are added; HEAD gets no body.
    public consuming func answer(_ response: borrowing Response) {
        var handle: OpaquePointer? = unsafe release()
        var texts = SliceArena()
        for header in response.headers {
            texts.append(header.name)
            texts.append(header.value)
        }
        let status = UInt32(response.status)
        unsafe texts.withSlices { texts in
            let headers = unsafe stride(from: 0, to: texts.count, by: 2).map { index in
                unsafe hr_header(name: texts[index], value: texts[index + 1])
            }
            unsafe response.body.withUnsafeBytes { body in
                let data = unsafe body.baseAddress?.assumingMemoryBound(to: CChar.self)
                let slice = unsafe hr_slice(data: data, len: body.count)
                unsafe hr_request_answer(&handle, status, headers, headers.count, slice)
            }
        }
    }

    /// Answers a WebSocket command with an error; the connection stays. Precondition: a command.
    public consuming func refuse(type: String, title: String, status: Int, detail: String) {
        var handle: OpaquePointer? = unsafe release()
        unsafe type.withSlice { type in
            unsafe title.withSlice { title in
                unsafe detail.withSlice { detail in
                    unsafe hr_request_refuse(&handle, type, title, UInt32(status), detail)
                }
            }
        }
    }

    /// Answers a WebSocket command: `{"control":name,"ref"?,members}`. `members` is JSON without braces and line breaks.
    /// Precondition: a command.
    public consuming func say(_ name: StaticString, members: [UInt8]) {
        var handle: OpaquePointer? = unsafe release()
        unsafe members.withSlice { members in unsafe hr_request_say(&handle, hr_slice(name), members) }
    }

    /// Answers a WebSocket client's ping. Precondition: a command.
    public consuming func pong() {
        var handle: OpaquePointer? = unsafe release()
        unsafe hr_request_pong(&handle)
    }
}

/// What a request came as.
public enum RequestKind: Sendable, Hashable {
    /// By HTTP.
    case http
    /// As a message of a WebSocket client.
    case command
}

/// The method of an HTTP request.
public enum RequestMethod: String, Sendable, Hashable, CaseIterable {
    /// GET
    case get = "GET"
    /// HEAD
    case head = "HEAD"
    /// POST
    case post = "POST"
    /// PUT
    case put = "PUT"
    /// DELETE
    case delete = "DELETE"
    /// OPTIONS
    case options = "OPTIONS"
    /// PATCH
    case patch = "PATCH"
    /// One that is none of these.
    case other = "OTHER"
}

/// A header that can be asked for; the core finds these once a request.
public enum HeaderName: Sendable, Hashable {
    /// `Accept`
    case accept
    /// `Content-Type`
    case contentType
    /// `Herald-Type`
    case heraldType
    /// `Idempotency-Key`
    case idempotencyKey
    /// `If-None-Match`
    case ifNoneMatch
    /// `Last-Event-ID`
    case lastEventID
    /// `Prefer`
    case prefer
    /// `ce-id`
    case cloudEventID
    /// `ce-source`
    case cloudEventSource
    /// `ce-specversion`
    case cloudEventSpecVersion
    /// `ce-type`
    case cloudEventType
    /// `Authorization`
    case authorization
    /// `Cookie`; of HTTP/2 all of its pieces, joined
    case cookie
    /// `Origin`
    case origin

    fileprivate var core: hr_http_name {
        switch self {
        case .accept: .HR_NAME_ACCEPT
        case .contentType: .HR_NAME_CONTENT_TYPE
        case .heraldType: .HR_NAME_HERALD_TYPE
        case .idempotencyKey: .HR_NAME_IDEMPOTENCY_KEY
        case .ifNoneMatch: .HR_NAME_IF_NONE_MATCH
        case .lastEventID: .HR_NAME_LAST_EVENT_ID
        case .prefer: .HR_NAME_PREFER
        case .cloudEventID: .HR_NAME_CE_ID
        case .cloudEventSource: .HR_NAME_CE_SOURCE
        case .cloudEventSpecVersion: .HR_NAME_CE_SPECVERSION
        case .cloudEventType: .HR_NAME_CE_TYPE
        case .authorization: .HR_NAME_AUTHORIZATION
        case .cookie: .HR_NAME_COOKIE
        case .origin: .HR_NAME_ORIGIN
        }
    }
}

/// What is wrong with a WebSocket handshake (RFC 6455 §4.2.1).
public struct HandshakeFault: Error, Sendable, Hashable {
    /// What is wrong.
    public let what: String
    /// Whether only the version is unknown, so that another one may be tried.
    public let isWrongVersion: Bool
}

/// A whole answer to an HTTP request.
public struct Response: Sendable {
    /// One header of an answer.
    public struct Header: Sendable, Hashable {
        /// Its name.
        public let name: String
        /// Its value, without line breaks.
        public let value: String

        /// Makes a header.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The status code.
    public var status: Int
    /// The headers, besides those that the core adds.
    public var headers: [Header] = []
    /// The body.
    public var body: [UInt8] = []

    /// Makes an answer without headers and body.
    public init(status: Int) {
        self.status = status
    }

    /// Makes an answer with a body of a content type.
    public init(status: Int, contentType: String, body: [UInt8]) {
        self.status = status
        self.body = body
        add("Content-Type", contentType)
    }

    /// Adds a header.
    public mutating func add(_ name: String, _ value: String) {
        headers.append(Header(name: name, value: value))
    }
}
