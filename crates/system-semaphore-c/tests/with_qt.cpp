// QSystemSemaphore beside Qt Core, whose headers may come before and after. `check` compiles this for each ORDER.

#define QSTRING_BEFORE 1
#define CLASS_BEFORE 2
#define ALL_BEFORE 3
#define CLASS_AFTER 4
#define CLASS_AFTER_QSTRING 5

#if ORDER == QSTRING_BEFORE
#  include <QString>
#  include "qsystemsemaphore.hpp"
#elif ORDER == CLASS_BEFORE
#  include <QSystemSemaphore>
#  include "qsystemsemaphore.hpp"
#elif ORDER == ALL_BEFORE
#  include <QtCore>
#  include "qsystemsemaphore.hpp"
#elif ORDER == CLASS_AFTER
#  include "qsystemsemaphore.hpp"
#  include <QSystemSemaphore>
#elif ORDER == CLASS_AFTER_QSTRING
#  include <QString>
#  include "qsystemsemaphore.hpp"
#  include <QSystemSemaphore>
#endif

#include <QByteArray>
#include <QDebug>

#include "checks.h"

#include <type_traits>

using Ours = system_semaphore::QSystemSemaphore;

#ifdef BARE_NAME
// two things are called so
using Bare = QSystemSemaphore;
#endif

#if ORDER == QSTRING_BEFORE
static_assert(std::is_same_v<QSystemSemaphore, Ours>);
#elif ORDER == CLASS_BEFORE || ORDER == ALL_BEFORE
static_assert(!std::is_same_v<QSystemSemaphore, Ours>);
#endif

#if ORDER != CLASS_AFTER
static void texts_are_those_of_qt()
{
    const QString name = QString::fromUtf8(NAME("qt-\xc3\xa9"));
    Ours sem(name, 3, Ours::Create);
    Ours same(name + QString(), 0), also(name.toUtf8()), std_name(name.toStdString()), native(sem.nativeIpcKey());
    for (Ours *each : {&same, &also, &std_name, &native})
        CHECK(each->available() == 3);
    const QString key = sem.key(), text = sem.errorString();
    CHECK(key == name && text.isEmpty());
    sem.setKey(QStringLiteral("x") + name, 1);
    CHECK(sem.key() == QStringLiteral("x") + name);
    sem.setNativeKey(QStringLiteral("/") + name, 2, Ours::Open, QNativeIpcKey::Type::PosixRealtime);
    CHECK(sem.nativeIpcKey().toString() == QStringLiteral("posix:/") + name && sem.available() == 2);
    const QNativeIpcKey printer = Ours::platformSafeKey(QLatin1String("printer"));
    CHECK(printer.nativeKey() == QLatin1String("/printer"));
    CHECK(printer == QNativeIpcKey::fromString(QStringLiteral("posix:/printer")));
    CHECK(Ours::isKeyTypeSupported(printer.type()));
    qDebug() << sem.errorString();
}
#endif

// Qt's class and ours count the same.
static void both_share()
{
#if ORDER != QSTRING_BEFORE
    const char *name = NAME("shared");
    ::QSystemSemaphore qt(QString::fromUtf8(name), 3, ::QSystemSemaphore::Create);
    Ours ours(name);
    CHECK(qt.acquire() && ours.available() == 2 && ours.acquire() && ours.available() == 1);
    CHECK(qt.release() && ours.release() && ours.available() == 3);
#endif
}

int main()
{
#if ORDER != CLASS_AFTER
    texts_are_those_of_qt();
#endif
    both_share();
    std::puts("ok");
}
