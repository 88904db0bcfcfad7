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

    @Option(
        name: .customLong("ca"),
        help: ArgumentHelp(
            "PEM file of authorities to trust instead of the system's. (environment: HERALD_CA)", valueName: "file"),
        completion: .file())
    var authorityFile: String?

    private var configuration: ClientConfiguration {
        var configuration = ClientConfiguration()
        let variable = ProcessInfo.processInfo.environment["HERALD_CA"] ?? ""
        configuration.trustedAuthorityFile = authorityFile ?? (variable.isEmpty ? nil : variable)
        return configuration
    }

    private var address: String {
        if let server { return server }
        let variable = ProcessInfo.processInfo.environment["HERALD_SERVER"] ?? ""
        return variable.isEmpty ? Self.defaultServer : variable
    }

    /// Lends a client of the server to the body. What goes wrong is reported, and becomes an exit code.
    func withClient(_ body: (HeraldClient) async throws -> Void) async throws {
        do {
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
