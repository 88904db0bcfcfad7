import HeraldCore
import Logging
import Synchronization
import Yams

/// The API keys of a file: secrets of services that cannot make tokens, each with what it grants.
///
/// The file holds the SHA-256 of each key, never the key. A slow hash, which passwords need, would add nothing: a key is
/// 32 random bytes, and to find one by trying 2^256 of them is out of reach however fast each try is.
final class APIKeys: Sendable {
    private let path: String?
    private let logger: Logger
    private let watch: FileWatch
    private let table: Mutex<Table>
    private let hasChanged = Atomic<Bool>(false)

    private struct Table {
        let grants: [TokenDigest: Grant]
        /// The grants by what they are in memory.
        let present: Set<ObjectIdentifier>

        init(_ grants: [TokenDigest: Grant]) {
            self.grants = grants
            present = Set(grants.values.map(ObjectIdentifier.init))
        }

        /// The table of keys that were read again: what has not changed is the same grant as before.
        init(_ read: [TokenDigest: Grant], after old: Table) {
            self.init(
                Dictionary(
                    uniqueKeysWithValues: read.map { digest, grant in
                        guard let known = old.grants[digest], known.isSame(as: grant) else { return (digest, grant) }
                        return (digest, known)
                    }))
        }
    }

    /// What keys begin with, so that people and scanners of leaked secrets know one when they see it.
    static let prefix = "hk_"

    /// The bytes of a key.
    static let length = 32

    /// The most keys of a file.
    static let countMax = 10_000

    /// Reads the file of the settings. Throws what is wrong with it.
    init(_ settings: ServerSettings, _ logger: Logger) throws(StartFailure) {
        path = settings.apiKeyFile
        self.logger = logger
        watch = FileWatch(path.map { [$0] } ?? [])
        do throws(KeyFault) {
            table = Mutex(Table(try path.map(Self.read) ?? [:]))
        } catch {
            let name = EscapedText.quoted(path ?? "")
            throw StartFailure(description: "cannot use the API key file \(name): it \(error)")
        }
    }

    /// Whether there is a file of keys.
    var isConfigured: Bool { path != nil }

    /// The number of keys.
    var count: Int { table.withLock { $0.grants.count } }

    /// What a key grants; nil if it is none.
    ///
    /// It is looked up by its hash, which nobody can steer: how long that takes says nothing of a key's bytes.
    func grant(for key: borrowing Bytes) -> Grant? {
        guard key.count == Self.textLength, key.hasPrefix("hk_") else { return nil }
        let digest = TokenDigest(key)
        return table.withLock { $0.grants[digest] }
    }

    /// Whether the keys have changed since this was asked last.
    func takeChange() -> Bool { hasChanged.exchange(false, ordering: .acquiringAndReleasing) }

    /// Whether a grant is still one of the keys': one whose key or rights were changed is another.
    func has(_ grant: Grant) -> Bool {
        table.withLock { $0.present.contains(ObjectIdentifier(grant)) }
    }

    /// Reads the file again whenever it changes or SIGHUP comes, until the task is cancelled.
    func run() async {
        guard path != nil else { return }
        await watch.run { self.reload(because: $0) }
    }

    /// Reads the file again. One that cannot be used changes nothing: the log says what is wrong.
    func reload(because reason: String) {
        guard let path else { return }
        do throws(KeyFault) {
            let read = try Self.read(path)
            table.withLock { $0 = Table(read, after: $0) }
            hasChanged.store(true, ordering: .releasing)
            logger.info("API keys read again: \(reason)", metadata: ["keys": "\(read.count)"])
        } catch {
            logger.error("API keys not read again, the old ones stay: \(EscapedText.quoted(path)) \(error)")
        }
    }

    /// The characters of a key: the prefix, and the bytes in base64.
    static let textLength = prefix.utf8.count + (length * 4 + 2) / 3

    /// Makes a key.
    static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        return prefix + Base64URL.encode((0..<length).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
    }
}

// MARK: - The file

extension APIKeys {
    /// An entry of the file, as YAML gives it.
    private struct Entry {
        let line: Int
        let values: [String: Node]

        /// Takes an item of the list; throws if it is no mapping, or has a key twice or one that means nothing.
        init(_ node: Node) throws(KeyFault) {
            line = node.mark?.line ?? 0
            guard case .mapping(let mapping) = node else { throw KeyFault("line \(line): is no mapping") }
            var values: [String: Node] = [:]
            for (key, value) in mapping {
                guard let name = key.string, ["name", "sha256", "publish", "subscribe", "manage"].contains(name) else {
                    let shown = EscapedText.quoted(key.string ?? "", limit: 40)
                    throw KeyFault(
                        "line \(line): \(shown) is no key of an entry; expected name, sha256, publish, subscribe, manage"
                    )
                }
                values[name] = value
            }
            self.values = values
        }

        func text(_ name: String) throws(KeyFault) -> String {
            guard case .scalar(let scalar)? = values[name], !scalar.string.isEmpty else {
                throw KeyFault("line \(line): \(name) is missing or is no text")
            }
            return scalar.string
        }

        func filters(_ name: String) throws(KeyFault) -> FilterSet {
            guard let node = values[name] else { return .none }
            guard case .sequence(let items) = node, items.count <= TokenClaims.filterCountMax else {
                throw KeyFault("line \(line): \(name) is no list of at most \(TokenClaims.filterCountMax) filters")
            }
            var filters: [FilterName] = []
            for item in items {
                let text = item.string ?? ""
                do throws(NameFault) {
                    filters.append(try FilterName(text))
                } catch {
                    let part = error.segment > 0 ? "segment \(error.segment) " : ""
                    throw KeyFault("line \(line): \(name) \(EscapedText.quoted(text, limit: 64)): \(part)\(error.what)")
                }
            }
            return FilterSet(filters)
        }
    }

    private static func read(_ path: String) throws(KeyFault) -> [TokenDigest: Grant] {
        let bytes = try SmallFile.read(path, lengthMax: 16 << 20)
        guard let text = String(validating: bytes, as: UTF8.self) else { throw KeyFault("is not UTF-8 text") }
        return try parse(text)
    }

    /// Reads the text of a file.
    static func parse(_ text: String) throws(KeyFault) -> [TokenDigest: Grant] {
        let root: Node?
        do {
            root = try Parser(yaml: text).singleRoot()
        } catch {
            throw KeyFault("is no YAML")
        }
        guard let root, root.null == nil else { return [:] }
        guard case .sequence(let items) = root, items.count <= countMax else {
            throw KeyFault("is no list of at most \(countMax) keys")
        }
        var grants: [TokenDigest: Grant] = [:]
        var names: Set<String> = []
        for item in items {
            let entry = try Entry(item)
            let name = try entry.text("name")
            guard name.utf8.count <= TokenClaims.textLengthMax, names.insert(name).inserted else {
                throw KeyFault("line \(entry.line): the name is too long, or another key has it")
            }
            guard let digest = TokenDigest(hexadecimal: try entry.text("sha256")) else {
                throw KeyFault("line \(entry.line): sha256 is not 64 hexadecimal digits; never put the key itself here")
            }
            let grant = Grant(
                source: .apiKey, subject: name, publish: try entry.filters("publish"),
                subscribe: try entry.filters("subscribe"), manage: try entry.filters("manage"))
            guard grants.updateValue(grant, forKey: digest) == nil else {
                throw KeyFault("line \(entry.line): another entry has the same sha256")
            }
        }
        return grants
    }

    /// The entry of a key for the file.
    static func entry(
        name: String, key: String, publish: FilterSet, subscribe: FilterSet, manage: FilterSet
    ) -> String {
        var lines = ["- name: \(EscapedText.quoted(name))", "  sha256: \"\(TokenDigest(key).hexadecimal)\""]
        for (right, set) in [("publish", publish), ("subscribe", subscribe), ("manage", manage)] where !set.isEmpty {
            lines.append("  \(right): [\(set.filters.map { EscapedText.quoted($0.text) }.joined(separator: ", "))]")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
