#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif
import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// An answer that was read to its end.
struct CollectedAnswer: Sendable {
    var status: Int
    var headers: HTTPHeaders
    var body: [UInt8]
}

/// Makes requests to one server, and turns what goes wrong into `HeraldError`.
package struct HTTPCaller: Sendable {
    let client: HTTPClient
    let base: BaseURL
    let configuration: ClientConfiguration
    let tokens: TokenKeeper
    let lifetime: Lifetime

    /// Makes a request with the headers that every request has, but for the token.
    func request(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = []
    ) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: base.absolute(base.target(path, query: query)))
        request.method = method
        for (name, value) in configuration.headers { request.headers.add(name: name, value: value) }
        return request
    }

    /// Runs the body with the token. If that is not accepted, or its right ends, another one is asked for before the
    /// next connection: how long that takes must not count as the connection's own time.
    func showingToken<Result>(_ body: (Token?) async throws -> Result) async throws -> Result {
        let token = try await tokens.current()
        do {
            return try await body(token)
        } catch HeraldError.problem(let problem) where problem.status == 401 {
            tokens.spoil(token)
            throw HeraldError.problem(problem)
        }
    }

    /// Has a stream that is the body of an answer go on with another token.
    func renew(_ token: Token, _ expiry: Expiry) async throws {
        guard let path = expiry.renewal else { return }
        let answer = try await collect(request(.POST, path), with: token)
        guard answer.status == 200 else { throw HeraldError.problem(Problem(answer)) }
    }

    /// Sends a request and reads its answer, whatever its status; once more with another token if the first one is not
    /// accepted.
    func collect(_ request: HTTPClientRequest, within time: Duration? = nil) async throws -> CollectedAnswer {
        let token = try await tokens.current()
        let answer = try await collect(request, with: token, within: time)
        guard answer.status == 401, let other = try await tokens.fresh(after: token) else { return answer }
        return try await collect(request, with: other, within: time)
    }

    /// Sends a request once, with this token, and reads its answer.
    func collect(
        _ request: HTTPClientRequest, with token: Token?, within time: Duration? = nil
    ) async throws -> CollectedAnswer {
        let deadline = NIODeadline.now() + TimeAmount(time ?? configuration.requestTimeout)
        do {
            return try await collect(try await client.execute(request.showing(token), deadline: deadline))
        } catch {
            throw explain(error)
        }
    }

    /// Reads a response to its end.
    func collect(_ response: HTTPClientResponse) async throws -> CollectedAnswer {
        let body = try await response.body.collect(upTo: configuration.limits.answerBytesMax)
        return CollectedAnswer(
            status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }

    /// Sends a request and reads its answer; throws the problem of one that is no success.
    func success(_ request: HTTPClientRequest, within time: Duration? = nil) async throws -> CollectedAnswer {
        let answer = try await collect(request, within: time)
        guard (200..<300).contains(answer.status) else { throw HeraldError.problem(Problem(answer)) }
        return answer
    }

    /// Turns an error of the libraries beneath into one of this module. A cancellation stays one.
    func explain(_ error: any Error) -> any Error {
        switch error {
        case is CancellationError, is HeraldError:
            return error
        case is NIOTooManyBytesError:
            return HeraldError.tooLarge(what: "An answer of the server", limit: configuration.limits.answerBytesMax)
        case let error as HTTPClientError:
            return explain(error)
        case NIOSSLError.uncleanShutdown:
            return HeraldError.cut("\(base.description) cut the connection")
        case is NIOConnectionError, is NIOSSLError, is NIOSSLExtraError:
            return HeraldError.unreachable("\(base.description), \(Self.words(for: error))")
        case let error as IOError where Self.meansNotConnected(error):
            return HeraldError.unreachable("\(base.description), \(Self.words(for: error))")
        case ChannelError.connectTimeout:
            return HeraldError.unreachable("\(base.description), \(Self.words(for: error))")
        case is ChannelError:
            return HeraldError.cut("\(base.description) cut the connection")
        default:
            return HeraldError.cut("\(base.description) cut the connection: \(Self.words(for: error))")
        }
    }

    private func explain(_ error: HTTPClientError) -> any Error {
        switch error {
        case .cancelled:
            return CancellationError()
        case .alreadyShutdown:
            return Lifetime.over
        case .deadlineExceeded, .readTimeout, .writeTimeout:
            return HeraldError.cut("\(base.description) did not answer in time")
        case .remoteConnectionClosed, .uncleanShutdown:
            return HeraldError.cut("\(base.description) cut the connection")
        default:
            return HeraldError.unreachable("\(base.description), \(error.shortDescription)")
        }
    }

    /// Whether the error is one of connecting: nothing was sent then.
    private static func meansNotConnected(_ error: IOError) -> Bool {
        [ECONNREFUSED, ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL].contains(error.errnoCode)
    }

    /// What an error of the libraries beneath means, in words.
    package static func words(for error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            if let last = error.connectionErrors.last { return words(for: last.error) }
            return "no address was found for the host"
        }
        if let error = error as? IOError {
            return unsafe strerror(error.errnoCode).map { unsafe String(cString: $0) } ?? "\(error)"
        }
        if let error = error as? ChannelError, case .connectTimeout = error { return "connecting took too long" }
        return "\(error)"
    }
}

extension HTTPClientRequest {
    /// The request with a token in it.
    func showing(_ token: Token?) -> HTTPClientRequest {
        guard let token else { return self }
        var request = self
        request.headers.replaceOrAdd(name: "Authorization", value: "Bearer \(token.text)")
        return request
    }
}

extension Problem {
    /// Reads the problem of an answer that is no success.
    init(_ answer: CollectedAnswer) {
        self.init(
            status: answer.status, reason: HTTPResponseStatus(statusCode: answer.status).reasonPhrase,
            contentType: answer.headers.first(name: "Content-Type"),
            retryAfter: answer.headers.first(name: "Retry-After"), body: answer.body)
    }
}
