import Configuration

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Reads the server's settings: flags before environment before configuration file before defaults.
///
/// All sources are read in full, so that a mistake in the file shows even where a flag overrides it, and every mistake
/// is reported, not only the first.
public struct SettingsReader: Sendable {
    /// The environment variable that names the configuration file.
    public static let fileVariable = "HERALD_CONFIG"

    /// Variables that begin as those of settings do but belong to the commands.
    private static let otherVariables: Set<String> = [fileVariable, "HERALD_SERVER", "HERALD_CA"]

    private let flags: [String: [String]]
    private let environment: [String: String]
    private let file: String?
    private let validateFilter: SettingDescriptor.FilterCheck

    /// Makes a reader.
    ///
    /// - Parameters:
    ///   - flags: the values given as flags, by the settings' keys.
    ///   - environment: the environment variables; an empty one counts as not set.
    ///   - file: the configuration file's path; without one `HERALD_CONFIG` names it, if set.
    ///   - validateFilter: what a filter's grammar has against a text: the reason, or nil.
    public init(
        flags: [String: [String]] = [:],
        environment: [String: String] = [:],
        file: String? = nil,
        validateFilter: @escaping @Sendable (String) -> String?
    ) {
        self.flags = flags
        self.environment = environment.filter { !$0.value.isEmpty }
        self.file = file ?? self.environment[Self.fileVariable]
        self.validateFilter = validateFilter
    }

    /// Reads all settings, or throws everything that is wrong with them.
    public func read() async throws(SettingsRefused) -> LoadedSettings {
        var mistakes: [SettingMistake] = []
        var sources = [environmentSource, flagSource]
        if let path = file {
            do {
                let (source, unknown) = try await fileSource(path: path)
                sources.insert(source, at: 0)
                mistakes += unknown
            } catch {
                mistakes.append(error)
            }
        }
        var loaded = LoadedSettings(settings: ServerSettings(), origins: [:], warnings: [])
        for setting in SettingDescriptor.all {
            for source in sources {
                mistakes += apply(source, to: setting, loaded: &loaded)
            }
        }
        let checks = SettingsChecks(loaded)
        mistakes += checks.mistakes(besides: Set(mistakes.map(\.key)))
        loaded.warnings = unknownVariableWarnings + checks.warnings
        guard mistakes.isEmpty else {
            throw SettingsRefused(mistakes: mistakes, warnings: loaded.warnings)
        }
        return loaded
    }

    /// Overwrites one setting by what a source has for it; answers what is wrong with that.
    private func apply(
        _ source: Source, to setting: SettingDescriptor, loaded: inout LoadedSettings
    ) -> [SettingMistake] {
        let origin = source.origin(setting)
        let refusals: [String]
        do {
            guard let texts = try source.texts(of: setting) else { return [] }
            refusals = setting.read(texts, &loaded.settings, validateFilter)
        } catch {
            refusals =
                error.reasons.map { "\($0); expected \(setting.accepted)" }
                + (error.usable.isEmpty ? [] : setting.read(error.usable, &loaded.settings, validateFilter))
        }
        if refusals.isEmpty {
            loaded.origins[setting.key] = origin
        }
        return refusals.map { SettingMistake(key: setting.key, origin: origin, reason: $0) }
    }

    // MARK: Sources

    /// One of swift-configuration's providers, and where it takes a setting's value from.
    private struct Source {
        let provider: any ConfigProvider
        let origin: (SettingDescriptor) -> SettingOrigin

        /// The texts that a setting has here; nil if it has none.
        func texts(of setting: SettingDescriptor) throws(SettingUnusable) -> [String]? {
            do {
                return try values(of: setting, as: setting.shape.isPlural ? .stringArray : .string)
            } catch {
                guard setting.shape == .texts, let one = try? values(of: setting, as: .string) else { throw error }
                return one
            }
        }

        private func values(of setting: SettingDescriptor, as type: ConfigType) throws(SettingUnusable) -> [String]? {
            do {
                switch try provider.value(forKey: AbsoluteConfigKey([setting.key]), type: type).value?.content {
                case .string(let text): return [text]
                case .stringArray(let texts): return texts
                default: return nil
                }
            } catch let error as SettingUnusable {
                throw error
            } catch {
                throw SettingUnusable(EscapedText.inline(String(describing: error)))
            }
        }
    }

    private var flagSource: Source {
        let values = flags.map { key, texts in
            let isList = SettingDescriptor.named(key)?.shape.isPlural == true
            let content: ConfigContent = isList ? .stringArray(texts) : .string(texts.last ?? "")
            return (AbsoluteConfigKey([key]), ConfigValue(content, isSecret: false))
        }
        let provider = InMemoryProvider(name: "flags", values: Dictionary(values) { first, _ in first })
        return Source(provider: provider, origin: { .flag(name: $0.flag) })
    }

    private var environmentSource: Source {
        let provider = EnvironmentVariablesProvider(environmentVariables: environment).prefixKeys(with: "herald")
        return Source(provider: provider, origin: { .environment(name: $0.environmentName) })
    }

    /// Reads the file: its source, and a mistake for each of its keys that is none of a setting.
    private func fileSource(path: String) async throws(SettingMistake) -> (Source, unknown: [SettingMistake]) {
        if let reason = Self.obstacle(to: path) {
            throw SettingMistake(
                key: SettingsChecks.fileKey, origin: .file(path: path, line: nil), reason: "can't be read: \(reason)")
        }
        let provider: FileProvider<SettingsFile>
        do {
            let filePath = InMemoryProvider(values: ["filePath": ConfigValue(.string(path), isSecret: false)])
            provider = try await FileProvider(config: ConfigReader(provider: filePath))
        } catch let error as SettingsFile.Unreadable {
            throw SettingMistake(
                key: SettingsChecks.fileKey, origin: .file(path: path, line: error.line), reason: error.reason)
        } catch {
            let reason = "can't be read: \(EscapedText.inline(String(describing: error)))"
            throw SettingMistake(
                key: SettingsChecks.fileKey, origin: .file(path: path, line: nil), reason: reason)
        }
        let entries = (provider.snapshot() as? SettingsFile)?.entries ?? []
        let lines = Dictionary(entries.map { ($0.key, $0.line) }) { first, _ in first }
        let unknown = entries.filter { SettingDescriptor.named($0.key) == nil }.map { entry in
            let hint = Suggestion.hint(for: entry.key, among: SettingDescriptor.all.map(\.key))
            return SettingMistake(
                key: entry.key, origin: .file(path: path, line: entry.line),
                reason: "is no setting\(hint); 'herald serve --help' lists them all")
        }
        let source = Source(
            provider: provider, origin: { .file(path: path, line: lines[$0.key].flatMap { $0 }) })
        return (source, unknown)
    }

    /// Why a file can't be read, in the system's words; the library's error is a dump of objects.
    private static func obstacle(to path: String) -> String? {
        var status = stat()
        guard unsafe stat(path, &status) == 0, unsafe access(path, R_OK) == 0 else {
            return unsafe String(cString: strerror(errno))
        }
        return status.st_mode & S_IFMT == S_IFDIR ? "it is a directory" : nil
    }

    /// A line for each variable that looks like a setting's but is none's.
    private var unknownVariableWarnings: [String] {
        let known = SettingDescriptor.all.map(\.environmentName)
        return environment.keys.sorted().compactMap { name in
            guard name.hasPrefix(SettingDescriptor.environmentPrefix),
                !known.contains(name), !Self.otherVariables.contains(name), !Self.isServiceLink(name)
            else { return nil }
            let hint = Suggestion.hint(for: name, among: known)
            return "environment \(EscapedText.inline(name)) is no setting\(hint); it is ignored"
        }
    }

    /// Whether Kubernetes sets the variable in every container beside a service that is named `herald`.
    private static func isServiceLink(_ name: String) -> Bool {
        name.hasPrefix("HERALD_SERVICE_") || name == "HERALD_PORT" || name.hasPrefix("HERALD_PORT_")
    }
}
