import ArgumentParser
import Foundation
import Herald

/// `herald token`: makes and reads tokens and API keys.
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make and read tokens and API keys.",
        discussion: """
            A token says what its owner may publish, subscribe to and purge, until when, and is signed. For a try:

              openssl rand -base64 48 > secret
              herald token make --secret-file secret --sub alice --subscribe 'orders/**' --expires 1h
              herald serve --token-secret-file secret
            """,
        subcommands: [MakeCommand.self, InspectCommand.self, KeyCommand.self])

    /// Ends the command with exit code 1 and a line on standard error for what the service could not do.
    static func report<Result>(_ body: () async throws -> Result) async throws -> Result {
        do {
            return try await body()
        } catch let failure as TokenToolFailure {
            Terminal.report(failure.description)
        } catch let error as InputError {
            Terminal.report(error.description)
        } catch is ClosedOutput {
            // Nobody reads any more.
        }
        throw ExitCode(1)
    }
}

/// The rights of a token or a key.
struct RightsOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("A filter that may be published to; may be repeated.", valueName: "filter"))
    var publish: [String] = []

    @Option(
        name: .long, help: ArgumentHelp("A filter that may be subscribed to; may be repeated.", valueName: "filter"))
    var subscribe: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A filter that may be purged; with '**' tokens may be revoked, too. May be repeated.", valueName: "filter"))
    var manage: [String] = []

    func validate() throws {
        for filter in publish + subscribe + manage {
            if let problem = ServerRunner.filterProblem(filter) {
                throw ValidationError("'\(filter)' is not a filter: \(problem).")
            }
        }
    }
}

extension TokenCommand {
    /// `herald token make`: prints a new token, and nothing else.
    struct MakeCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "make",
            abstract: "Make a token.",
            discussion: """
                Prints the token alone. It is signed with a secret, or with a private key whose public half the server \
                has. Without --expires it is good for ever; then only a new key, or its revocation, ends it.
                """)

        @Option(name: .long, help: ArgumentHelp("File of the secret to sign with.", valueName: "file"))
        var secretFile: String?

        @Option(name: .long, help: ArgumentHelp("PEM file of the private key to sign with.", valueName: "file"))
        var keyFile: String?

        @Option(
            name: .long,
            help: ArgumentHelp(
                "How to sign. (default: HS256 with a secret, RS256 with an RSA key, else the key's)", valueName: "name")
        )
        var algorithm: String?

        @Option(
            name: .long, help: ArgumentHelp("The name of the key, for servers that have several.", valueName: "name"))
        var kid: String?

        @Option(name: .long, help: ArgumentHelp("Whom the token is given to.", valueName: "name"))
        var sub: String?

        @OptionGroup(title: "Rights") var rights: RightsOptions

        @Option(
            name: .long,
            help: ArgumentHelp("How long the token is good for, e.g. 10m, 1h or 30d.", valueName: "duration"))
        var expires: String?

        @Option(name: .long, help: ArgumentHelp("How long from now the token begins to count.", valueName: "duration"))
        var notBefore: String?

        @Option(name: .long, help: ArgumentHelp("What names the token. (default: random)", valueName: "name"))
        var jti: String?

        @Option(name: .long, help: ArgumentHelp("Who issues the token.", valueName: "name"))
        var issuer: String?

        @Option(name: .long, help: ArgumentHelp("For whom the token is.", valueName: "name"))
        var audience: String?

        func validate() throws {
            guard (secretFile == nil) != (keyFile == nil) else {
                throw ValidationError("Give either --secret-file or --key-file.")
            }
            for case (let flag, let text?) in [("--expires", expires), ("--not-before", notBefore)]
            where (Quantities.duration(text)?.components.seconds ?? 0) < 1 {
                throw ValidationError("\(flag) has to be a duration of at least 1s, such as 10m, 1h or 30d.")
            }
        }

        func run() async throws {
            try await TokenCommand.report {
                let maker: TokenMaker
                if let secretFile {
                    maker = try await TokenMaker(secretFile: secretFile, algorithm: algorithm, keyID: kid)
                } else {
                    maker = try await TokenMaker(keyFile: keyFile ?? "", algorithm: algorithm, keyID: kid)
                }
                try Terminal.print(try await maker.make(request))
            }
        }

        private var request: TokenRequest {
            let now = Int64(Date().timeIntervalSince1970)
            func later(_ text: String?) -> Int64? {
                text.flatMap(Quantities.duration).map { now + $0.components.seconds }
            }
            var request = TokenRequest()
            (request.subject, request.issuer, request.audience) = (sub, issuer, audience)
            request.tokenID = jti ?? UUID().uuidString.lowercased()
            (request.issuedAt, request.expiry, request.notBefore) = (now, later(expires), later(notBefore))
            (request.publish, request.subscribe, request.manage) = (rights.publish, rights.subscribe, rights.manage)
            return request
        }
    }

    /// `herald token inspect`: shows what a token says, and checks it if it is given keys.
    struct InspectCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "inspect",
            abstract: "Show what a token says, and check it.",
            discussion: """
                With keys the token is checked as a server with these keys would, and the exit code is 1 if it is not \
                good. Without, its signature is not checked: anybody may have written what is shown.
                """)

        @Option(name: .long, help: ArgumentHelp("File of the secret to check with.", valueName: "file"))
        var secretFile: String?

        @Option(
            name: .customLong("key-file"),
            help: ArgumentHelp("PEM file or JSON Web Key Set to check with; may be repeated.", valueName: "file"))
        var keyFiles: [String] = []

        @Option(name: .long, help: ArgumentHelp("URL of a JSON Web Key Set to check with.", valueName: "url"))
        var jwks: String?

        @Option(name: .long, help: ArgumentHelp("Who must have issued the token.", valueName: "name"))
        var issuer: String?

        @Option(name: .long, help: ArgumentHelp("For whom the token must be.", valueName: "name"))
        var audience: String?

        @Argument(help: "The token; '-', or nothing, reads it from standard input, where it leaves no traces.")
        var token = "-"

        func run() async throws {
            let problem: String? = try await TokenCommand.report {
                var text = token
                if token == "-" {
                    text = String(decoding: try await Terminal.contents(of: "-", bytesMax: 1 << 20), as: UTF8.self)
                }
                text = text.trimmingCharacters(in: .whitespacesAndNewlines)
                let now = Int64(Date().timeIntervalSince1970)
                let inspection = try TokenInspection(text, now: now)
                for line in inspection.lines { try Terminal.print(line) }
                guard settings.areTokensConfigured else {
                    try Terminal.print("NOT CHECKED: give --secret-file, --key-file or --jwks to check the signature.")
                    return nil
                }
                let problem = try await inspection.problem(settings, now: now)
                try Terminal.print(problem.map { "INVALID: \($0)" } ?? "VALID: signed with a key given here.")
                return problem
            }
            if problem != nil { throw ExitCode(1) }
        }

        private var settings: ServerSettings {
            var settings = ServerSettings()
            (settings.tokenSecretFile, settings.tokenKeyFiles, settings.tokenJWKS) = (secretFile, keyFiles, jwks)
            (settings.tokenIssuer, settings.tokenAudience) = (issuer, audience)
            return settings
        }
    }

    /// `herald token key`: makes an API key.
    struct KeyCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "key",
            abstract: "Make an API key.",
            discussion: """
                Prints the key, which is shown this once, on standard output, and its entry for the server's file of \
                keys (api-key-file) on standard error. The entry holds the key's SHA-256 only. To do both at once:

                  herald token key --name ci --publish 'orders/**' 2>> api-keys.yaml
                """)

        @Option(name: .long, help: ArgumentHelp("Whose key it is; each name has one.", valueName: "name"))
        var name: String

        @OptionGroup(title: "Rights") var rights: RightsOptions

        func run() async throws {
            try await TokenCommand.report {
                let (key, entry) = try APIKeyMaker.make(
                    name: name, publish: rights.publish, subscribe: rights.subscribe, manage: rights.manage)
                Terminal.reportLines(entry)
                try Terminal.print(key)
            }
        }
    }
}
