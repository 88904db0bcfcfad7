import AsyncHTTPClient
import NIOCore
import NIOPosix

/// A client of one Herald server.
///
/// One client serves a whole program: it may be used by any number of tasks at once. End it with `shutdown()`, or let
/// `HeraldClient.withClient(url:)` do so.
///
///     try await HeraldClient.withClient(url: "http://127.0.0.1:8080") { client in
///         try await client.publish(Array("shipped".utf8), to: "orders/42", contentType: "text/plain")
///         for try await event in client.subscribe("orders/**", after: .earliest) {
///             print(event.topic)
///         }
///     }
public final class HeraldClient: Sendable {
    let caller: HTTPCaller

    /// Makes a client of the server at this address: `http` or `https`, a host, if need be a port and a path.
    public init(url: String, configuration: ClientConfiguration = ClientConfiguration()) throws(HeraldError) {
        let base = try BaseURL(url)
        let tokens = try TokenKeeper(configuration.token, timeout: configuration.tokenTimeout)
        let hasAuthorization = configuration.headers.contains { $0.name.lowercased() == "authorization" }
        if hasAuthorization, !configuration.token.isNone {
            throw .unusable("The configuration has both a token and a header \"Authorization\"")
        }
        let tls = try TLSSettings.make(configuration)
        var http = HTTPClient.Configuration()
        // A redirected POST would become a GET, and answer as if it had published.
        http.redirectConfiguration = .disallow
        http.timeout.connect = TimeAmount(configuration.connectTimeout)
        // Subscriptions retry on their own, with jitter and in view of the reader; a request is to fail at once.
        http.connectionPool.retryConnectionEstablishment = false
        // Each held request occupies a connection: the library's default of 8 would let 8 readers block a publish.
        http.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = configuration.limits.connectionsMax
        http.tlsConfiguration = tls
        let client = HTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: http)
        self.caller = HTTPCaller(
            client: client, base: base, configuration: configuration, tokens: tokens, lifetime: Lifetime())
    }

    /// Ends the client. Requests and subscriptions that still run end with an error.
    public func shutdown() async throws {
        caller.lifetime.end()
        try await caller.client.shutdown()
    }

    /// Makes a client, lends it to the body, and ends it.
    ///
    /// The body runs where the caller does, on its actor.
    public static func withClient<Result>(
        url: String, configuration: ClientConfiguration = ClientConfiguration(),
        isolation: isolated (any Actor)? = #isolation, _ body: (HeraldClient) async throws -> Result
    ) async throws -> Result {
        let client = try HeraldClient(url: url, configuration: configuration)
        do {
            let result = try await body(client)
            try await client.shutdown()
            return result
        } catch {
            // The body's own error is the one to report.
            try? await client.shutdown()
            throw error
        }
    }
}
