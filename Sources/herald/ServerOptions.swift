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

    @Option(
        name: .customLong("token-file"),
        help: ArgumentHelp(
            "File of the token or API key to show the server, read again when that runs out. "
                + "(environment: HERALD_TOKEN, the token itself)",
            valueName: "file"),
        completion: .file())
    var tokenFile: String?

    private func configuration() throws -> ClientConfiguration {
        var configuration = ClientConfiguration()
        configuration.token = try token()
        let variable = ProcessInfo.processInfo.environment["HERALD_CA"] ?? ""
        configuration.trustedAuthorityFile = authorityFile ?? (variable.isEmpty ? nil : variable)
        return configuration
    }

    /// The token, which is no argument: those are shown to whoever lists processes.
    private func token() throws -> TokenSource {
        guard let tokenFile else {
            let text = try Self.token(in: ProcessInfo.processInfo.environment["HERALD_TOKEN"] ?? "")
            return text.isEmpty ? .none : .fixed(text)
        }
        guard try !Self.token(inFile: tokenFile).isEmpty else { return .none }
        // Read again when the server asks for another token: whoever renews it writes it there.
        return .provided { try Self.token(inFile: tokenFile) }
    }

    private static func token(inFile path: String) throws -> String {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw ValidationError("The token file \(path) can't be read.")
        }
        return try token(in: String(decoding: bytes, as: UTF8.self))
    }

    private static func token(in text: String) throws -> String {
        let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValidationError("The token holds characters that no token has.")
        }
        return text
    }

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
            var configuration = try configuration()
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
