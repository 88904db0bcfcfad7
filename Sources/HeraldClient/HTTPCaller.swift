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

/// An answer that was read to its end.
struct CollectedAnswer: Sendable {
    var status: Int
    var headers: HTTPHeaders
    var body: [UInt8]
}

/// Makes requests to one server, and turns what goes wrong into `HeraldError`.
struct HTTPCaller: Sendable {
    let client: HTTPClient
    let base: BaseURL
    let configuration: ClientConfiguration

    /// Makes a request with the headers that every request has.
    func request(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = []
    ) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: base.absolute(base.target(path, query: query)))
        request.method = method
        for (name, value) in configuration.headers { request.headers.add(name: name, value: value) }
        return request
    }

    /// Sends a request and reads its answer, whatever its status.
    func collect(_ request: HTTPClientRequest, within time: Duration? = nil) async throws -> CollectedAnswer {
        let deadline = NIODeadline.now() + TimeAmount(time ?? configuration.requestTimeout)
        do {
            let response = try await client.execute(request, deadline: deadline)
            return try await collect(response)
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
        case let error as HTTPClientError where error == .cancelled:
            return CancellationError()
        case is NIOTooManyBytesError:
            return HeraldError.tooLarge(what: "An answer of the server", limit: configuration.limits.answerBytesMax)
        case let error as HTTPClientError where error == .deadlineExceeded:
            return HeraldError.unreachable("\(base.description) did not answer in time")
        case let error as HTTPClientError:
            return HeraldError.unreachable("\(base.description), \(error.shortDescription)")
        default:
            return HeraldError.unreachable("\(base.description), \(Self.words(for: error))")
        }
    }

    private static func words(for error: any Error) -> String {
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

extension Problem {
    /// Reads the problem of an answer that is no success.
    init(_ answer: CollectedAnswer) {
        self.init(
            status: answer.status, reason: HTTPResponseStatus(statusCode: answer.status).reasonPhrase,
            contentType: answer.headers.first(name: "Content-Type"),
            retryAfter: answer.headers.first(name: "Retry-After"), body: answer.body)
    }
}
