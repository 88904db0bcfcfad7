import ArgumentParser
import Foundation
import HeraldClient

/// Where the client commands find their server.
struct ServerOptions: ParsableArguments {
    private static let defaultServer = "http://127.0.0.1:8080"

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The server's address. (environment: HERALD_SERVER; default: \(ServerOptions.defaultServer))",
            valueName: "url"))
    var server: String?

    @OptionGroup var credentials: CredentialOptions

    private var address: String {
        if let server { return server }
        let variable = ProcessInfo.processInfo.environment["HERALD_SERVER"] ?? ""
        return variable.isEmpty ? Self.defaultServer : variable
    }

    /// Lends a client of the server to the body. What goes wrong is reported, and becomes an exit code.
    func withClient(
        _ change: (inout ClientConfiguration) -> Void = { _ in }, _ body: (HeraldClient) async throws -> Void
    ) async throws {
        do {
            var configuration = try credentials.configuration()
            change(&configuration)
            try await HeraldClient.withClient(url: address, configuration: configuration, body)
        } catch HeraldError.unusable(let what) {
            throw ValidationError("\(what).")
        } catch let error as HeraldError {
            Terminal.report(error.description)
            throw ExitCode.failure
        } catch is ClosedOutput {
            // Whoever read the output has seen enough, as `head` does.
            return
        } catch let error as InputError {
            Terminal.report(error.description)
            throw ExitCode.failure
        }
    }
}
